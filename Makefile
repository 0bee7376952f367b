# Each target installs the packages that it needs. You need Python >= 3.11, make and git.
#   make sweep     runs the default sweep, which writes to results/
#   make report    writes report.zip, with the figures and the summary of the default sweep in one page
#   make test      runs the tests, which takes ten minutes on two cores
#   make test-all  also tests planted courses and domes with more seeds, kills fifty sweeps, tests all
#                  changes that make jobs run again, tests miniatures of all models of transformers,
#                  and runs published suites and the default sweep
#   make lint      checks format, style, types, imports and the workflow
#   make docs      writes the reference from the code, checks links, builds docs/_build/index.html
#   make bench     compares speed and memory with other programs, and measures the costs of a checkpoint,
#                  a probe and a large sweep, for docs/reference/{speed,cost}.md; takes half an hour
#   make faults    kills fifty sweeps at random times, for docs/reference/faults.md; takes half an hour
# Parts of continuous integration (.ci/run):
#   make smoke        runs a small default sweep (tests/smoke.yaml) and its report, and then a dry run
#   make test-readme  runs the README's commands on published suites, with miniature models
#   make test-bare    starts the tests that need Chromium or Slurm without giving them these programs; all
#                     of these tests must be skipped
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
BENCH := .venv-bench
READY_BENCH := $(BENCH)/.ready
# The search benchmarks run twice. In the first run, OpenBLAS chooses the kernels. In the second run,
# shapesweep and the other programs use the same kernels.
TIME = env -u OPENBLAS_L2_SIZE $(1) $(BENCH)/bin/python -m pytest benchmarks -q -p no:cacheprovider \
  -c benchmarks/pytest.ini --benchmark-json $(BENCH)/$(2).json
ACTIVATE := . $(VENV)/bin/activate &&
# The tests run in several processes with one thread each. All tests of a file run in the same process, and
# files that take long run first. Crashed processes are not restarted: after a restart, xdist would wait
# forever.
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

# The PATH contains only the programs of the virtual environment.
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

# Kill fifty sweeps, each at a different time. The table in docs/reference/faults.md counts only the sweeps
# that recovered.
faults: $(READY_DEV)
	rm -f $(VENV)/faults.jsonl
	$(ACTIVATE) SHAPESWEEP_KILLS=50 SHAPESWEEP_FAULTS=$(abspath $(VENV))/faults.jsonl \
	  python -m pytest tests/faults/test_kills.py
	$(ACTIVATE) python tests/faults/table.py $(VENV)/faults.jsonl

# Check external links. Some machines cannot reach all external pages.
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
