# `make help` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
export OMP_WAIT_POLICY ?= PASSIVE
# the tests start a hundred processes, each of which would compile the package again
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test test-rest test-all test-real test-gpu gpu-day \
  gpu-day-packages gpu-day-rehearsal test-lowest test-slurm test-ray lint types check docs report browser seeds mitigations mitigations-full \
  faults faults-short fuzz reproduce vulnerabilities honesty mutants coverage launchers dashboard tiny tiny-flow bench \
  bench-scale clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

run: .venv/installed ## set up and run the main job: fine-tune the tiny target, attack it with CLiD
	$(BIN)/python -m mia_bench

test: .venv/installed ## set up and run the tests, two files at a time: every part at least once
	$(PYTEST) -m "not slow and not long" --durations=15

test-rest: .venv/installed ## what `make test` leaves out for its length: second looks, kills, full disks, studies
	$(PYTEST) -m "long and not slow" --durations=15

test-all: test test-rest ## every test but those that take minutes each or need special machines

test-real: .venv/installed ## models of the real size with random weights (15 minutes, 16 GB of memory)
	$(BIN)/python -m pytest -m slow -s tests/contracts/test_real_size.py

test-gpu: .venv/installed ## one CUDA device: scores, noise, precisions, memory, graphs, whole runs
	$(BIN)/python -m pytest -m gpu -rs tests/contracts/test_gpu.py

gpu-day-packages: .venv/installed ## what a machine with CUDA and torch lacks, in one archive of at most 60 MB: FOR=3.12
	$(BIN)/python tests/tools/gpu_day.py gather python=$(or $(FOR),3.12) $(if $(PRESENT),present=$(PRESENT))

gpu-day: ## on that machine: test-gpu and bench gpu in parts of nine minutes, into docs/gpu.json
	while $(PYTHON) tests/tools/gpu_day.py run; status=$$?; [ $$status = 3 ]; do :; done; exit $$status

gpu-day-rehearsal: .venv/installed ## that day on this machine's CPU at small size, from the archive and torch alone (6 minutes)
	$(BIN)/python tests/tools/gpu_day.py rehearse

test-lowest: .venv/installed ## a smoke set with the lowest direct versions that pyproject.toml allows; torch as it is
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python tests/tools/lowest_versions.py

test-slurm: .venv/installed ## a sweep through a one-node Slurm (needs slurmctld, slurmd, munged)
	$(BIN)/python -m pytest -m slow -rs tests/sweep/test_sweeper_engines.py -k slurm

test-ray: .venv/installed ## a sweep through Ray (needs ray: pip install .[ray])
	$(BIN)/python -m pytest -m slow -rs tests/sweep/test_sweeper_engines.py -k ray

lint: .venv/installed ## ruff: lint and format; import-linter: layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/installed ## mypy --strict
	$(BIN)/mypy

check: lint types test-all ## everything the gate runs

fuzz: .venv/installed ## 500 random command lines: each plans or fails with one message (4 minutes)
	$(BIN)/python -m pytest -m slow -s tests/security/test_fuzz.py

reproduce: ## two clean installs, two small runs: equal to the bit (minutes; needs the package index)
	rm -rf .reproduce
	for n in one two; do \
	  $(PYTHON) -m venv .reproduce/$$n && .reproduce/$$n/bin/python -m pip install --quiet . && \
	  (cd .reproduce && OMP_NUM_THREADS=1 $$n/bin/python -m mia_bench paths.outputs=$$n-outputs \
	    trainer=cpu 'attack=[loss,clid_vec]' finetune.steps=20 eval.resamples=200 \
	    data.sizes.target_member=40 data.sizes.target_nonmember=40 \
	    data.sizes.shadow_member=40 data.sizes.shadow_nonmember=40) || exit 1; \
	done
	$(PYTHON) tests/helpers/same.py .reproduce/one-outputs .reproduce/two-outputs

vulnerabilities: .venv/installed ## known vulnerabilities of what is installed (needs a network)
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip_audit --skip-editable

docs: .venv/installed ## the documentation as a static site in build/site, every link checked (seconds)
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --quiet

report: .venv/installed ## outputs/ as one HTML page: outputs/reports/report/index.html
	$(BIN)/python -m mia_bench.report

browser: .venv/installed ## the report in a real browser (needs chromium or google-chrome, and chromedriver)
	MIA_BROWSER=required $(BIN)/python -m pytest -m browser

seeds: .venv/installed ## the table over seeds of the README (about 5 minutes a seed on 2 cores)
	$(BIN)/python -m mia_bench.seeds

mitigations: .venv/installed ## ten mitigations under the attacks, one seed, small sizes (about 25 minutes on 2 cores)
	$(BIN)/python -m mia_bench.mitigation_study 0 small=true

mitigations-full: .venv/installed ## the same at full size over three seeds (about 2 hours on 2 cores; resumable)
	$(BIN)/python -m mia_bench.mitigation_study 0 1 2

faults-short: .venv/installed ## kills, full disks, damage: the part that runs with `make test-all` (under 5 minutes)
	$(BIN)/python -m pytest tests/faults

faults: .venv/installed ## all of it: 20 kills each of fine-tuning and scoring, ranks, network (an hour on 2 cores)
	$(BIN)/python -m pytest -m "slow or not slow" -s tests/faults

launchers: .venv/installed ## the same small sweep by submitit, on this machine (a minute)
	$(BIN)/python -m pytest -m slow tests/sweep/test_sweeper.py

dashboard: .venv/installed ## W&B workspace and report of outputs/ (WANDB_ENTITY=team; JSON without a key)
	$(BIN)/python -m mia_bench.dashboard $(if $(WANDB_ENTITY),entity=$(WANDB_ENTITY))

tiny: .venv/installed ## pre-train the bundled tiny model again (an hour; resumable; needs npm)
	nice -n 19 $(BIN)/python -m mia_bench.pretrain

tiny-flow: .venv/installed ## pre-train a tiny flow-matching transformer into outputs/tiny_flow (an hour; resumable; needs npm)
	nice -n 19 $(BIN)/python -m mia_bench.pretrain flow_steps=5000 out=outputs/tiny_flow threads=1

bench: .venv/installed ## how near the bare U-Net everything runs (ratios; nothing else should run; a quarter hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m mia_bench.bench

bench-scale: .venv/installed ## options of torch, two processes, a kill among 100,000 rows, 1,000 runs (an hour)
	$(BIN)/python -m mia_bench.bench torch_options memory ddp parallel_models resume stored_runs metrics cost_model

honesty: .venv/installed ## do intervals cover and controls stay silent? docs/honesty.md (an hour)
	$(BIN)/python -m mia_bench.honesty

mutants: .venv/installed ## mutation testing of what everything rests on (20 minutes; docs/mutants.md)
	$(BIN)/python -m pip install --quiet -e '.[mutants]'
	$(BIN)/python tests/tools/mutants.py mia_bench/metrics/roc.py mia_bench/metrics/thresholds.py mia_bench/data/split/manifest.py mia_bench/target/diffusion.py
	$(BIN)/python tests/tools/mutants.py mia_bench/attacks/*.py --sample 50

coverage: .venv/installed ## branch coverage of the whole suite, those of child processes included
	$(BIN)/python -m pytest -q --cov --cov-report=term --cov-fail-under=90

clean: ## remove the virtual environment and caches, never outputs/
	rm -rf .venv .reproduce .mypy_cache .ruff_cache .pytest_cache .hypothesis
