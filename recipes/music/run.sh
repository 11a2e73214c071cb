#!/usr/bin/env bash
# Music: models of lead sheets, score to mel, the music vocoder, the mel VAE and LSTM.
#   recipes/music/run.sh DATA [RUNS]      DATA: a folder as described in recipes/music/README.md; RUNS: default runs
# Called again, it goes on where it stopped.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:?usage: recipes/music/run.sh DATA [RUNS]}"
runs="${2:-runs}"
source "$here/../stage.sh"
python="${PYTHON:-python}"
mkdir -p "$runs"

# Tables that arrangements and the harmoniser are made by; those that the package ships stay as they are.
tables="$here/../../wavegen/music/data"
[ -e "$tables/harmony.json" ] || "$python" "$here/harmony_tables.py" "$folder/jsb-chorales/Jsb16thSeparated.json" \
    "$tables/harmony.json"
[ -e "$tables/drums.json.gz" ] || "$python" "$here/drum_tables.py" "$folder/groove-midi" "$tables/drums.json.gz"
[ -e "$tables/figures.json.gz" ] || "$python" "$here/figure_tables.py" "$folder/freedoom-midi" "$tables/figures.json.gz"

# Notes: the corpus of lead sheets, then every model of them.
data="$runs/tunes.npz"
[ -e "$data" ] || "$python" "$here/prepare_tunes.py" "$data" --jsb "$folder/jsb-chorales/Jsb16thSeparated.json"
"$python" "$here/classic.py" "$data" "$runs" --fit ngram hmm gmm
stage tune-transformer "$here/transformer.yaml"
stage tune-lstm "$here/lstm.yaml"
stage tune-gru "$here/gru.yaml"
stage tune-vae "$here/vae.yaml"
stage tune-gan "$here/gan.yaml"
"$python" -m wavegen.training.reinforce "$runs/tune-lstm/model.safetensors" "$data" --minutes 6 --nll-limit 0.045 \
    -o "$runs/tune-reinforce.safetensors"

# Sound: pairs of notes and audio from FluidSynth, then what learns from them.
data="$runs/pairs"
[ -e "$data" ] || "$python" "$here/render_pairs.py" "$data" --freedoom "$folder/freedoom-midi" \
    --groove "$folder/groove-midi" --chorales "$folder/jsb-chorales/Jsb16thSeparated.json" \
    --soundfonts "$folder"/soundfonts/*.sf*
stage score-mel "$here/score_mel.yaml"
data="$runs/renderings"
[ -e "$data" ] || "$python" "$here/vocoder_set.py" "$runs/pairs" "$data" --stems "$folder/stems"
stage vocoder-music "$here/vocoder.yaml"
stage mel-vae "$here/mel_vae.yaml"
stage mel-lstm "$here/mel_lstm.yaml"
echo "trained: $runs/*/model.safetensors"
