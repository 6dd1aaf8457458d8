# Two commands do everything: `make profile` and `make test`. Both build .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out
CONSTRAINTS := constraints.txt
RECORDINGS := $(if $(TOPOPROBE_RECORDINGS),$(TOPOPROBE_RECORDINGS),../shared)

# The CUDA extra follows the driver: its CUDA major version picks cuda12 or cuda13; none without one.
CUDA_MAJOR := $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')
CUDA_EXTRA := $(if $(CUDA_MAJOR),$(shell [ $(CUDA_MAJOR) -ge 13 ] && echo ,cuda13 || { [ $(CUDA_MAJOR) -eq 12 ] && echo ,cuda12; }))
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c $(CONSTRAINTS)

# Where measurements of this machine's GPUs are kept: the product's name, and how many there are.
GPU_NAMES := $(shell nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | tr 'A-Z ' 'a-z-')
GPU_COUNT := $(words $(GPU_NAMES))
MEASURED := docs/measured/$(if $(filter-out 1,$(GPU_COUNT)),$(GPU_COUNT)x-)$(firstword $(GPU_NAMES))

.PHONY: profile test gpu check format clean
.DELETE_ON_ERROR:

profile: $(VENV)/.installed
	$(BIN)/topoprobe profile -o $(OUT)/ --force

test: $(VENV)/.installed-dev
	TOPOPROBE_RECORDINGS="$(RECORDINGS)" $(BIN)/python -m pytest -q -n 2 --dist loadfile tests

gpu:
	@[ $(GPU_COUNT) -gt 0 ] || { echo "make gpu measures NVIDIA GPUs, and nvidia-smi names none here." >&2; exit 3; }
	$(MAKE) $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -m gpu tests
	mkdir -p $(MEASURED)
	nvidia-smi --query-gpu=timestamp,name,pci.bus_id,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,ecc.mode.current --format=csv > $(MEASURED)/gpus.csv
	$(BIN)/topoprobe profile --suite full -o $(MEASURED) --force

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict topoprobe microbench reports
	$(BIN)/python -m pytest -q tests/test_layers.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "topoprobe needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "installing topoprobe and what it measures with (torch is large) ..." >&2
	$(PIP) torch==2.13.0
	$(PIP) -e '.[bench,torch$(CUDA_EXTRA)]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the test tools ..." >&2
	$(PIP) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(OUT) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
