# Each target installs what it needs. Required: Python >= 3.11, make and git.
#   make sweep     the default sweep, to results/
#   make report    report.zip: figures and summary of the default sweep in one page
#   make test      the tests; ten minutes on two cores
#   make test-all  long forms too: more seeds, fifty kills, all changes that can run jobs again,
#                  published suites, the default sweep
#   make lint      format, style, types, the workflow's lint
#   make docs      writes the reference from the code, builds docs/_build/index.html, checks links
#   make bench     speed and memory compared with other programs, and costs of a checkpoint, a probe and
#                  a large sweep, to docs/reference/{speed,cost}.md; half an hour
#   make faults    kills sweeps at fifty times, to docs/reference/faults.md; half an hour
# Parts of continuous integration (.ci/run):
#   make smoke        the default sweep in small (tests/smoke.yaml), its report, and a second run
#   make test-readme  the README's commands on published suites, on miniatures
#   make test-bare    tests that need a system package, without it: they must be skipped
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
BENCH := .venv-bench
READY_BENCH := $(BENCH)/.ready
# OpenBLAS chooses its kernels; in a second run, it uses the same as the other programs.
TIME = env -u OPENBLAS_L2_SIZE $(1) $(BENCH)/bin/python -m pytest benchmarks -q -p no:cacheprovider \
  -c benchmarks/pytest.ini --benchmark-json $(BENCH)/$(2).json
ACTIVATE := . $(VENV)/bin/activate &&
# Several processes with one thread each. All tests of a file run in one process, long files first.
# Processes are not restarted after a crash, because xdist would then wait forever.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
  python -m pytest -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0
SMOKE := snakemake --cores all --configfile tests/smoke.yaml
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: sweep report test test-all test-readme test-bare smoke lint docs links bench faults clean
.DEFAULT_GOAL := sweep

sweep: $(READY)
	@touch $(VENV)/.started
	$(ACTIVATE) snakemake --cores all
	@# If nothing was left to do, print the summary of the last run.
	@find results/summary.txt ! -newer $(VENV)/.started -exec cat {} +

report: sweep
	$(ACTIVATE) snakemake --cores 1 --report report.zip

test: $(READY_DEV)
	$(ACTIVATE) $(PYTEST)

test-all: $(READY_DEV)
	$(MAKE) smoke
	$(ACTIVATE) SHAPESWEEP_ALL=1 SHAPESWEEP_SEEDS=100 SHAPESWEEP_KILLS=50 $(PYTEST) tests workflow
	$(MAKE) report
	$(ACTIVATE) snakemake --cores all --dry-run | grep "Nothing to be done"

test-readme: $(READY_DEV)
	$(ACTIVATE) $(PYTEST) --dist load tests/readme

# Only the programs of the environment are on the PATH.
test-bare: $(READY_DEV)
	PATH=$(abspath $(VENV))/bin $(abspath $(VENV))/bin/python -m pytest --color=no tests/browser tests/slurm

smoke: $(READY)
	$(ACTIVATE) $(SMOKE)
	$(ACTIVATE) $(SMOKE) --report results/smoke/report.zip
	$(ACTIVATE) $(SMOKE) --dry-run | grep "Nothing to be done"

lint: $(READY_DEV)
	$(ACTIVATE) pre-commit run --all-files --show-diff-on-failure

docs: $(READY_DEV)
	$(ACTIVATE) python docs/generate.py $(CHECK)
	$(ACTIVATE) md-dead-link-check
	$(ACTIVATE) sphinx-build --fail-on-warning --keep-going --nitpicky -q docs docs/_build

bench: $(READY) $(READY_BENCH)
	$(call TIME,-u OPENBLAS_CORETYPE,own)
	$(call TIME,OPENBLAS_CORETYPE=Haswell,same) -k test_search
	$(BENCH)/bin/python benchmarks/table.py $(BENCH)/own.json $(BENCH)/same.json
	$(ACTIVATE) env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python benchmarks/cost.py
	$(ACTIVATE) env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python benchmarks/probe.py
	$(ACTIVATE) python benchmarks/scale.py

# Fifty sweeps, each killed at another time; the table lists only those that recovered.
faults: $(READY_DEV)
	rm -f $(VENV)/faults.jsonl
	$(ACTIVATE) SHAPESWEEP_KILLS=50 SHAPESWEEP_FAULTS=$(abspath $(VENV))/faults.jsonl \
	  python -m pytest tests/faults/test_kills.py
	$(ACTIVATE) python tests/faults/table.py $(VENV)/faults.jsonl

# External links, which not every machine can reach.
links: $(READY_DEV)
	$(ACTIVATE) sphinx-build -q -b linkcheck docs docs/_build/links

clean:
	rm -rf $(VENV) $(BENCH) docs/_build

$(READY): envs/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "shapesweep needs Python 3.11 or newer; choose it with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' \
	  || { echo "this Python cannot create environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -r envs/requirements.txt
	$(VENV)/bin/python -m pip install -q --no-deps -e .
	@touch $@

$(READY_DEV): $(READY) envs/requirements-dev.txt
	$(VENV)/bin/python -m pip install -q -r envs/requirements.txt -r envs/requirements-dev.txt
	@touch $@

$(READY_BENCH): envs/requirements.txt envs/requirements-bench.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install -q -r envs/requirements-bench.txt
	$(BENCH)/bin/python -m pip install -q --no-deps llm-microscope==0.0.7 -e .
	@touch $@
