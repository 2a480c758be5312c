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
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))' > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --requirement $(VENV)/requirements.txt --group dev $(MLX)
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
