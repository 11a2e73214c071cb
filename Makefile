# make demo   set up what is needed, speak into demo.wav, compose demo-music.wav, and split that into demo-stems
# make test   set up everything else, then lint, type-check and test
# make kernels, sanitize   build the compiled kernels anew; run their tests under sanitizers
#
# A machine with Python >= 3.11, pip and a C++ compiler is all that is needed; everything goes into .venv.
# TORCH is what pip installs as torch; on Linux the plain wheel carries CUDA. For a smaller, CPU-only one:
#   make demo TORCH='torch==2.13.0 --index-url <PyTorch's CPU wheel index>'

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH ?= torch==2.13.0
SETUPTOOLS ?= setuptools==84.2.1
TORCHAUDIO ?= torchaudio==2.11.0
TEXT ?= The waveform begins as silence. A sentence later, it is a voice.
MUSIC ?= a slow waltz in G major for flute and piano, 90 bpm, 16 bars

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint kernels sanitize clean

demo: .venv/.demo
	$(BIN)/wavegen speak "$(TEXT)" -o demo.wav
	$(BIN)/wavegen compose "$(MUSIC)" -o demo-music.wav
	$(BIN)/wavegen separate demo-music.wav -o demo-stems --overwrite

test: lint
	$(BIN)/python -m pytest --cov
	$(MAKE) sanitize

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

# The compiled kernels, after a change in csrc/.
kernels: .venv/.torch
	$(BIN)/python setup.py --quiet build_ext --inplace

# The kernels' tests under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: .venv/.test
	PYTHON=$(BIN)/python tests/csrc/sanitize.sh

clean:
	rm -rf .venv build dist wavegen/*.so *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov demo.wav demo-music.wav demo-stems

.venv/.torch:
	$(PYTHON) -m venv .venv
	$(PIP) $(TORCH)
	$(PIP) $(SETUPTOOLS)
	touch $@

# Built against the torch above, hence without isolation.
.venv/.demo: .venv/.torch setup.py pyproject.toml $(shell find csrc -type f)
	$(PIP) --no-build-isolation --editable .
	touch $@

# torchaudio is the yardstick of some tests. Its wheel asks for a torch of its own choosing, hence --no-deps.
# pesq is built from source with tools that only an isolated build brings along, so it comes first.
.venv/.test: .venv/.demo
	$(PIP) 'pesq>=0.0.4'
	$(PIP) --no-build-isolation --editable '.[test]'
	$(PIP) --no-deps $(TORCHAUDIO)
	touch $@
