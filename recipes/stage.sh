# Sourced by the recipes: one stage of training, skipped if it is done, resumed if it was interrupted.
# stage NAME CONFIG [wavegen train options...]   uses $data and $runs
stage() {
    local name="$1" config="$2"
    shift 2
    if [ -e "$runs/$name/done" ]; then
        echo "$runs/$name: trained already (remove it to train anew)" >&2
        return
    fi
    if [ -e "$runs/$name/state.pt" ]; then
        set -- --resume "$@"
    fi
    wavegen train "$config" --data "$data" --output "$runs/$name" "$@"
    touch "$runs/$name/done"
}
