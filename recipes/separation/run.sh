#!/usr/bin/env bash
# Separators: songs rendered with their stems, then every model, with what each is compared with.
#   recipes/separation/run.sh DATA [RUNS]     DATA: a folder as described below; RUNS: where it trains (default: runs)
#     DATA/{freedoom-midi,groove-midi,jsb-chorales}   scores        DATA/soundfonts/*.sf*
#     DATA/speech/<set>/<speaker>/...                 recordings    DATA/stems/<song>/<stem>.flac real songs (group_songs.py)
# The set of speech of a single speaker holds its recordings itself. Called again, it goes on where it stopped.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="$(cd "${1:?usage: recipes/separation/run.sh DATA [RUNS]}" && pwd)"
runs="${2:-runs}"
source "$here/../stage.sh"
mkdir -p "$runs"

# All that is mixed, in one folder: rendered songs as stems, real ones as songs, speech.
data="$runs/separation-data"
mkdir -p "$data"
ln -sfn "$folder/speech" "$data/speech"
ln -sfn "$folder/stems" "$data/songs"
scores=(--freedoom "$folder/freedoom-midi" --groove "$folder/groove-midi"
    --chorales "$folder/jsb-chorales/Jsb16thSeparated.json" --soundfonts "$folder"/soundfonts/*.sf*)
"${PYTHON:-python}" "$here/render_stems.py" "$data/stems" "${scores[@]}" --minutes 240
"${PYTHON:-python}" "$here/render_stems.py" "$data/chorales" "${scores[@]}" --minutes 200 --chorale-share 1 --seed 6
"${PYTHON:-python}" "$here/render_stems.py" "$data/solos" "${scores[@]}" --minutes 1500 --solos --seed 8
"${PYTHON:-python}" "$here/render_basses.py" "$data/basses"

stage separator-music "$here/music.yaml"
stage separator-voice "$here/voice.yaml"
stage separator-speakers "$here/speakers.yaml"
stage separator-conv-tasnet "$here/conv_tasnet.yaml"
stage separator-deep-lstm "$here/deep_lstm.yaml"
stage separator-deep-clustering "$here/deep_clustering.yaml"

# Heads of the autoencoders learn last, of a separation that stands still, and of solos, too: instruments are many. First
# pitch, then the family, which is read off the partials of the pitch.
solos='[{folder: stems}, {folder: chorales, weight: 0.7}, {folder: solos, weight: 3.0}]'
heads() {
    local name="$1" config="$2"
    shift 2
    stage "$name" "$config" --set task.heads_only=true --set task.vocoder=null --set task.data.songs="$solos" \
        --set task.data.silent=0.15 --set task.validation=48 --set task.heads_steps=4 --set loop.warmup_steps=30 "$@"
}
both_heads() {
    heads "$1-pitch" "$2" --set init="$runs/$1/model.safetensors" --set task.family_weight=0 \
        --set loop.minutes=45 --set loop.learning_rate=0.002
    heads "$1-family" "$2" --set init="$runs/$1-pitch/model.safetensors" --set task.pitch_weight=0 \
        --set task.family_weight=1 --set task.heads_batch=64 --set loop.minutes=50 --set loop.learning_rate=0.003
}
stage separator-lstm-vae "$here/lstm_vae.yaml"
both_heads separator-lstm-vae "$here/lstm_vae.yaml"
stage separator-tcn-vae "$here/tcn_vae.yaml"
both_heads separator-tcn-vae "$here/tcn_vae.yaml"

# In pairs of equally many steps: with and without discriminators, KL, and a vocoder to begin from.
stage separator-gan "$here/gan.yaml" --set init="$runs/separator-voice/model.safetensors"
stage separator-gan-plain "$here/gan.yaml" --set init="$runs/separator-voice/model.safetensors" \
    --set task.adversarial.weight=0 --set task.adversarial.feature_weight=0
few() {
    local steps="$1"
    shift
    stage "$@" --set loop.minutes=null --set loop.steps="$steps"
}
few 400 separator-lstm-vae-few "$here/lstm_vae.yaml"
few 400 separator-lstm-ae-few "$here/lstm_vae.yaml" --set task.beta=0
few 200 separator-tcn-vae-few "$here/tcn_vae.yaml"
few 200 separator-tcn-vae-cold "$here/tcn_vae.yaml" --set task.vocoder=null
echo "trained: $runs/separator-*/model.safetensors"
