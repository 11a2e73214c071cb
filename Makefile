# make demo   set up what speaking needs, and speak a sentence into demo.wav
# make test   set up everything else, then lint, type-check and test
#
# A machine with Python >= 3.11, pip and a C++ compiler is all that is needed; everything goes into .venv.
# TORCH is what pip installs as torch; on Linux the plain wheel carries CUDA. For a smaller, CPU-only one:
#   make demo TORCH='torch==2.13.0 --index-url <PyTorch's CPU wheel index>'

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH ?= torch==2.13.0
TORCHAUDIO ?= torchaudio==2.11.0
TEXT ?= The waveform begins as silence. A sentence later, it is a voice.

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint clean

demo: .venv/.demo
	$(BIN)/wavegen speak "$(TEXT)" -o demo.wav

test: lint
	$(BIN)/python -m pytest --cov

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov demo.wav

.venv/.torch:
	$(PYTHON) -m venv .venv
	$(PIP) $(TORCH)
	touch $@

.venv/.demo: .venv/.torch setup.py pyproject.toml
	$(PIP) --editable .
	touch $@

# torchaudio is the yardstick of some tests. Its wheel asks for a torch of its own choosing, hence --no-deps.
.venv/.test: .venv/.demo
	$(PIP) --editable '.[test]'
	$(PIP) --no-deps $(TORCHAUDIO)
	touch $@
