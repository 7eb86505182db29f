# Everything happens in .venv, which each target makes for itself: a fresh machine needs Python
# 3.11, pip and make. `make help` lists the targets; ARGS reaches the command behind each of them,
# as in `make test ARGS='tests/shuffle -k sort'`.

VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard notebooks)

# nbval runs each notebook in a fresh kernel of this interpreter and compares what its cells print.
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/sanitize.cfg \
         --nbval-cell-timeout=60 --nbval-kernel-startup-timeout=60

# The stamps below live in .venv. One made for another folder (a copied clone) would quietly test
# that folder's code, because the installation is editable: such a .venv is made again.
ifneq ($(shell cat $(VENV)/.folder 2>/dev/null),$(CURDIR))
$(shell rm -f $(VENV)/.installed-*)
endif

.DEFAULT_GOAL := help
.PHONY: help demo lab test check format bench soak faults clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: $(VENV)/.installed-core  ## count the words of this machine's Python sources, live
	@$(BIN)/mrkernel demo $(ARGS)

lab: $(VENV)/.installed-test  ## JupyterLab with the notebooks
	@$(BIN)/jupyter lab $(if $(ARGS),$(ARGS),$(NOTEBOOKS))

test: $(VENV)/.installed-test  ## the test suite and the notebooks; lists every skip
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),$(if $(NOTEBOOKS),$(NBVAL)) tests $(NOTEBOOKS))

check: $(VENV)/.installed-check  ## format, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

format: $(VENV)/.installed-check  ## format the sources and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-test  ## the figures, each as a ratio within one run
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.installed-test  ## the long tests: chaos, simulation, faults; hours
	$(BIN)/python -m tests.soak.long $(ARGS)

faults: $(VENV)/.installed-test  ## run the tests of the fault table and write docs/faults.md
	$(BIN)/python tests/faults.py $(ARGS)

clean:  ## remove .venv, caches and build products; never data
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchdata
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One .venv, three sizes: a larger one holds the smaller, so it stamps them too.
EXTRAS-core :=
EXTRAS-test := test
EXTRAS-check := test,check

$(VENV)/.installed-%: pyproject.toml .ci/venv
	@.ci/venv $(VENV) '$(EXTRAS-$*)'
	@printf '%s\n' '$(CURDIR)' > $(VENV)/.folder
	@touch $(VENV)/.installed-core $@ $(if $(filter check,$*),$(VENV)/.installed-test)
