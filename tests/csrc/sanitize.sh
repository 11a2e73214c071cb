#!/usr/bin/env bash
# Builds the kernels with AddressSanitizer and UndefinedBehaviorSanitizer into build/sanitize and runs their tests on them.
#
#     tests/csrc/sanitize.sh [pytest's arguments; in place of the tests that are run by default]
#
# The checkout's own build stays as it is: the tests see a package of links to wavegen/ beside the sanitized module.
# The first bad read, write or undefined operation of a kernel ends the run with a report and a status that is not 0.
# PYTHON (default .venv/bin/python) and CXX (default g++) say what to run and to compile with.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$PWD/${PYTHON:-.venv/bin/python}
[[ ${PYTHON:-} == /* ]] && python=$PYTHON
export CXX=${CXX:-g++}
folder=$PWD/build/sanitize

WAVEGEN_SANITIZE=1 WAVEGEN_CUDA=0 "$python" setup.py --quiet build_ext --build-lib "$folder"
for part in wavegen/*; do
    [[ $part == *.so || $part == */__pycache__ ]] || ln -sfn "$PWD/$part" "$folder/$part"
done

# The sanitizers' libraries go first; and libstdc++, whose functions they wrap, before anything that Python loads.
libraries=()
for name in libasan.so libubsan.so libstdc++.so; do
    path=$($CXX -print-file-name=$name)
    [[ $path == /* ]] || { echo "sanitize.sh: $CXX has no $name" >&2; exit 1; }
    libraries+=("$(readlink -f "$path")")
done
# The check for use after return moves locals to a place that g++ 12 fails to align for vectors of 64 bytes.
sanitized() {
    LD_PRELOAD="${libraries[*]}" \
        ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 \
        UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
        PYTHONMALLOC=malloc PYTHONSAFEPATH=1 PYTHONPATH="$folder" OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
        "$python" "$@"
}

loaded=$(sanitized -c "from wavegen.ops import extension; print(extension().__file__)")
[[ $loaded == "$folder"/* ]] || { echo "sanitize.sh: $loaded is loaded, not the sanitized module" >&2; exit 1; }

if (($# == 0)); then
    set -- tests/ops/test_wavenet_generate.py
    [[ -e tests/ops/test_gated_layer.py ]] && set -- "$@" tests/ops/test_gated_layer.py
    # What starts processes or tests torch itself says nothing of the kernels, and is slow here.
    set -- "$@" -m "not slow" -k "not opcheck and not contracts_with_torch and not ctrl_c and not unknown_instruction"
fi
sanitized -m pytest -q -x -p no:cacheprovider -p no:faulthandler --capture=sys --no-header "$@"
