# Everything runs from a fresh clone: the first target that needs it makes .venv and installs into it.
# PYTHON=/path/to/python chooses the interpreter, OUT=folder where `make demo` writes, JOBS how many processes test.
# `make test-arviz` runs in a second environment, with ArviZ 1.x; its PYTHON must be 3.12 or later.

VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo
JOBS ?= 2
ARVIZ1 := .venv-arviz1
ARVIZ1_VENV_FLAGS ?=
# Files that the tests of one environment write and those of the other read.
EXCHANGE ?= $(abspath $(ARVIZ1))/exchange

# Small tensors gain nothing from many threads, and too many slow one another down.
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg

FIND_PYTHON = for p in python3 python3.11 python3.12 python3.13; do \
	"$$p" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
	&& command -v "$$p" && break; done

.PHONY: demo test test-all test-arviz test-arviz1 test-arviz-files lint types imports docs tutorials
.DEFAULT_GOAL := test

demo: $(VENV)/.installed-core
	$(BIN)/pyro-langevin demo --out $(OUT)

# JOBS processes share the test files between them.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow and not gpu" -n $(JOBS) --dist loadfile

test-all: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# Both generations of ArviZ: what the first environment writes the second reads, and the other way round.
test-arviz:
	$(MAKE) test-arviz-files PYTHON=
	$(MAKE) test-arviz1
	$(MAKE) test-arviz-files PYTHON=

test-arviz-files: $(VENV)/.installed-test
	mkdir -p $(EXCHANGE)
	PYRO_LANGEVIN_EXCHANGE=$(EXCHANGE) $(BIN)/python -m pytest tests/test_arviz.py -k files

test-arviz1: $(ARVIZ1)/.installed
	mkdir -p $(EXCHANGE)
	PYRO_LANGEVIN_EXCHANGE=$(EXCHANGE) $(ARVIZ1)/bin/python -m pytest -m "not slow" \
		tests/test_arviz.py tests/test_arviz_page.py tests/test_inference_data_svi.py \
		tests/test_inference_data_scores.py tests/test_loss_phases.py tests/test_diagnostics_*.py \
		tests/test_guide_quality.py tests/test_report.py pyro_langevin/inference_data

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

imports: $(VENV)/.installed-test
	$(BIN)/lint-imports

# Runs the tutorials at full size, where their text is newer than their notebook, and keeps what they print and draw.
tutorials: $(patsubst tutorials/%.py,docs/tutorials/%.ipynb,$(wildcard tutorials/*.py))

docs/tutorials/%.ipynb: tutorials/%.py | $(VENV)/.installed-docs
	$(BIN)/python docs/tutorials/render.py $<

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

$(BIN)/python:
	@python="$(PYTHON)"; [ -n "$$python" ] || python="$$($(FIND_PYTHON))"; \
	[ -n "$$python" ] || { echo "make: found no Python 3.11 to 3.13 with venv; name one: make PYTHON=/path/to/python" >&2; exit 1; }; \
	echo "$$python -m venv $(VENV)"; "$$python" -m venv $(VENV)

$(VENV)/.installed-core: EXTRAS :=
$(VENV)/.installed-test: EXTRAS := [test]
$(VENV)/.installed-docs: EXTRAS := [docs]

# A stamp is renewed when the requirements change; the virtual environment itself is kept.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e '.$(EXTRAS)'
	touch $@

$(ARVIZ1)/.installed: pyproject.toml constraints-arviz1.txt
	@python="$(PYTHON)"; [ -n "$$python" ] || for p in python3 python3.12 python3.13; do \
		"$$p" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1 && python="$$p"; done; \
	[ -n "$$python" ] || { echo "make: ArviZ 1.x needs Python 3.12 or later; name one: make test-arviz PYTHON=/path/to/python" >&2; exit 1; }; \
	"$$python" -m venv $(ARVIZ1_VENV_FLAGS) $(ARVIZ1)
	$(ARVIZ1)/bin/python -m pip install -c constraints-arviz1.txt -e '.[test]'
	touch $@
