#!/usr/bin/env bash
# The speech acoustic model, from recordings and texts: aligner, then Transformer.
#   recipes/speech/run.sh DATA [RUNS]      DATA: a folder in LJSpeech layout; RUNS: where it trains (default: runs)
# Called again, it goes on where it stopped.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
data="${1:?usage: recipes/speech/run.sh DATA [RUNS]}"
runs="${2:-runs}"
source "$here/../stage.sh"

stage aligner "$here/aligner.yaml"
stage speech "$here/speech.yaml" --set "task.aligner=$runs/aligner/model.safetensors"
echo "trained: $runs/speech/model.safetensors"
