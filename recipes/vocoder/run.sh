#!/usr/bin/env bash
# The iSTFT vocoder: spectral losses, then discriminators, then the mels that the speech model predicts.
#   recipes/vocoder/run.sh DATA [RUNS]     DATA: a folder in LJSpeech layout; RUNS: where it trains (default: runs)
# The last stage needs RUNS/speech, which recipes/speech/run.sh leaves; without it, it is left out and said so.
# Called again, it goes on where it stopped.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
data="${1:?usage: recipes/vocoder/run.sh DATA [RUNS]}"
runs="${2:-runs}"
source "$here/../stage.sh"

stage vocoder-spectral "$here/spectral.yaml"
stage vocoder-adversarial "$here/adversarial.yaml" --set "init=$runs/vocoder-spectral/state.pt"
if [ ! -e "$runs/speech/done" ]; then
    echo "trained: $runs/vocoder-adversarial/model.safetensors (not adapted: $runs/speech is missing)"
    exit
fi
stage vocoder-adapted "$here/adapted.yaml" --set "init=$runs/vocoder-adversarial/state.pt" \
    --set "task.predicted_mels=$runs/speech/predicted"
echo "trained: $runs/vocoder-adapted/model.safetensors"
