# The targets of soundraft; `make help` lists them. Those that need the environment create it first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.made-from-lock
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
# torch's threads wait for each other in a busy loop, by default so long that beside any other program training takes
# five times as long; the result is the same
export GOMP_SPINCOUNT ?= 3000

.DEFAULT_GOAL := help
.PHONY: help setup repro exp exps dag report tts classification enhancement words digits speakers test test-slow test-real lint ui bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)$$/  make \1\t\2/' | expand -t 24

setup: $(STAMP) ## create .venv from requirements.lock (again when the lock changes)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "soundraft needs Python 3.11 or newer; choose one: make PYTHON=python3.12"; exit 1; }
	@echo "installing $$(grep -c == requirements.lock) pinned packages into $(VENV); the first time this takes several minutes"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# what DVC says of each stage beside the stage itself, and the cycles beyond train.cycles
DVC_SAYS := "^$$|^Running stage |^> PYTHONPATH=|^Updating lock file |^Stage '.*' didn't change|not active|^Use .dvc push. "

repro: setup ## rebuild what has changed; ends with the table of results
	@dvc repro | { grep --line-buffered -vE $(DVC_SAYS) || true; }; exit $${PIPESTATUS[0]}
	@echo && echo "open reports/index.html in a browser; next: make ui (curves), make exp S='train.cycles=6' (change a number)"

exp: setup ## run an experiment: make exp S='train.cycles=6 seed=1'
	dvc exp run $(foreach change,$(S),-S $(change))

# ten voices that speak slowly and fast, clean recordings, and cycles of a size for two cores
TTS := task=tts corpus.start.clips.train=1500 corpus.start.clips.validation=32 corpus.start.clips.test=8 \
	corpus.target.clips.train=192 corpus.target.clips.validation=100 corpus.target.clips.test=150 \
	corpus.espeak.voices.start=10 corpus.espeak.start.rate_wpm=[140,230] corpus.espeak.start.pitch=[40,60] \
	corpus.espeak.start.noisy_share=0.0 train.epochs=5 train.supervised.batch_size=8 \
	train.supervised.learning_rate=0.0025 train.warmup_share=0.05 train.weight_decay=0.02 train.cycles=2 \
	train.rounds_per_cycle=1 train.samples_per_prompt=8 train.temperature=0.9 train.keep_top_percent=100.0 \
	train.learning_rate=0.001 train.presentations_per_cycle=512 train.replay_fraction=0.0 train.batch_size=8 \
	tts.best_of=4 decoding.batch_clips=64 benchmark.clips=10 benchmark.repeats=1

tts: setup ## text to speech: train a small model, improve it by RAFT, measure it (more: S='seed=1')
	@$(MAKE) --no-print-directory exp S="$(TTS) $(S)"

exps: setup ## list experiments: the params that differ, and the results
	dvc exp show --no-pager --only-changed --hide-queued --drop '^(src|stages|data|models|reports|checkpoints|paramproducers|cycles.yaml|params.yaml|.gate)|_(low|high|relative_reduction|validation)$$|_(snapped|start)_'

dag: setup ## list the stages: what each waits for, makes and does
	@soundraft stages

report: setup ## rebuild what has changed, then write the page with commit, versions and speed: reports/report.html
	dvc repro report
	soundraft report

classification: setup ## train classifiers of synthetic words, and of recorded digits and speakers (FSDD=FOLDER)
	@$(MAKE) --no-print-directory -j 2 words $(if $(FSDD),digits speakers)

enhancement: setup ## train and improve a speech enhancer on synthetic speech, and measure it on digits (FSDD=FOLDER)
	dvc exp run $(foreach change,$(ENHANCE),-S '$(change)')
	$(if $(FSDD),rm -rf runs/enhanced_digits && soundraft evaluate --model models/base --dataset fsdd --path $(FSDD) --subset speakers \
		--output runs/enhanced_digits)

ENHANCE := task=enhancement corpus.target.config=voices corpus.target.clips.train=900 \
	corpus.target.clips.validation=60 corpus.target.clips.test=120 corpus.espeak.voices.target=84 \
	corpus.espeak.target.rate_wpm=[130,220] corpus.espeak.target.pitch=[25,85] corpus.espeak.target.noisy_share=0.0 \
	train.cycles=2 train.rounds_per_cycle=2 train.samples_per_prompt=8 train.presentations_per_cycle=400 \
	train.reward_threshold=0.0 train.keep_top_percent=100.0 enhancement.recognizer=checkpoints/recognizer

# the recordings of the Free Spoken Digit Dataset, if they are beside this folder
FSDD ?= $(firstword $(wildcard ../shared/data/fsdd/recordings ../fsdd/recordings ../free-spoken-digit-dataset/recordings))
CLASSIFY = rm -rf $(1) && OMP_NUM_THREADS=1 soundraft train --config configs/classify.yaml --output $(1)

words:
	$(call CLASSIFY,runs/words) --dataset espeak --subset words
digits:
	$(call CLASSIFY,runs/digits) --dataset fsdd --path $(FSDD) --subset digits
speakers:
	$(call CLASSIFY,runs/speakers) --dataset fsdd --path $(FSDD) --subset digits --target speaker

test: setup ## all fast tests, 5 minutes on two cores, no network
	OMP_NUM_THREADS=1 pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-slow: setup ## slow tests: whole pipelines, killed and resumed
	pytest -m slow

test-real: setup ## tests on a real checkpoint: MODELS=FOLDER with whisper-tiny.en, DIGITS=FOLDER, LJSPEECH=FOLDER
	OMP_NUM_THREADS=1 MODELS=$(MODELS) DIGITS=$(DIGITS) LJSPEECH=$(LJSPEECH) pytest -rs tests/real tests/models/test_whisper.py

lint: setup ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

ui: setup ## MLflow on http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --host 127.0.0.1 --port $${PORT:-5000} \
		--backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}

bench: setup ## measure speed against the baselines in benchmarks/
	for script in benchmarks/bench_*.py; do PYTHONPATH=. python $$script || exit 1; done

clean: ## remove the environment and scratch files; data, models and DVC's cache are kept
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis data/.*.tmp models/.*.tmp models/*/.*.tmp reports/.*.tmp
