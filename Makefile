# `make sweep` and `make test` do all of their own set-up; they need Python >= 3.11, make and git.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: sweep test lint clean
.DEFAULT_GOAL := sweep

sweep: $(READY)
	@touch $(VENV)/.started
	. $(VENV)/bin/activate && snakemake --cores all
	@# Where nothing was to be done, what was found before is said again.
	@find results/summary.txt ! -newer $(VENV)/.started -exec cat {} +

test: $(READY_DEV)
	. $(VENV)/bin/activate && python -m pytest

lint: $(READY_DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow

clean:
	rm -rf $(VENV)

$(READY): envs/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "shapesweep needs Python 3.11 or newer; say which with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' \
	  || { echo "this Python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -r envs/requirements.txt
	$(VENV)/bin/python -m pip install -q --no-deps -e .
	@touch $@

$(READY_DEV): $(READY) envs/requirements-dev.txt
	$(VENV)/bin/python -m pip install -q -r envs/requirements-dev.txt
	@touch $@
