#!/usr/bin/env bash
# WaveNet from scratch.
#   recipes/vocoder/wavenet/run.sh DATA [RUNS] [SIZE]
# DATA: a folder in LJSpeech layout; RUNS: where it trains (default: runs); SIZE: cpu-small (default) or gpu, for
# cpu-small.yaml or gpu.yaml. Called again, it goes on where it stopped.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
data="${1:?usage: recipes/vocoder/wavenet/run.sh DATA [RUNS] [SIZE]}"
runs="${2:-runs}"
size="${3:-cpu-small}"
if [ ! -e "$here/$size.yaml" ]; then
    echo "no size $size: cpu-small or gpu" >&2
    exit 2
fi
source "$here/../../stage.sh"

predicted=()
if [ -e "$runs/speech/done" ]; then # some segments have the mels that the speech model predicts for them
    predicted=(--set "task.predicted_mels=$runs/speech/predicted")
fi
stage "wavenet-$size" "$here/$size.yaml" "${predicted[@]}"
echo "trained: $runs/wavenet-$size/model.safetensors"
