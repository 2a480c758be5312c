# Where uv is absent: the same two commands through a virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# make run CUDA=1 VENV=.venv-cuda: MLX for an NVIDIA GPU
CUDA ?=
MLX := $(if $(CUDA),'mlx[cuda13]>=0.32.4',--group cpu)

.PHONY: run test check clean

run: $(VENV)/.installed  ## make run ARGS="--profile tiny --experiments 12 --time-budget 20"
	$(BIN)/python loop.py $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# pip >= 25.1 reads the dependency group; `--group` installs what [dependency-groups] names.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 15) else "Python 3.11 to 3.14 is needed, this is %d.%d: make PYTHON=python3.13" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))' > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --requirement $(VENV)/requirements.txt --group dev $(MLX)
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
