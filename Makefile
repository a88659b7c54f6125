# Two commands do everything: `make demo` and `make test`. Both first make the environment, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test docs soak check format benchmarks clean

demo: $(VENV)/installed  ## The main job on real recordings, in a few minutes
	$(BIN)/otolith demo

test: check examples/browser/node_modules/installed  ## Lint, types and the whole test suite
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

soak: $(VENV)/installed  ## Hours: 50 kills per stage, a Ray cluster that loses a node, torchrun that loses a process
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev,ray]'
	$(BIN)/python -m pytest -m soak

check: $(VENV)/installed  ## Lint, format, types, import order
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

docs: $(VENV)/installed  ## The manual, in site/; a broken link ends the build
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo 'site/index.html; with search: $(BIN)/python -m http.server --directory site --bind 127.0.0.1'

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: $(VENV)/installed  ## Ratios, measured side by side
	$(BIN)/python benchmarks/gather.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/startup.py

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps projectaria-tools
	@touch $@

# The packages of the page that labels a CSV file; without npm its tests are skipped, and say so
examples/browser/node_modules/installed: examples/browser/package-lock.json
	@mkdir -p $(@D)
	if command -v npm; then npm ci --prefix examples/browser --ignore-scripts --no-audit --no-fund --silent; fi
	@mkdir -p $(@D) && touch $@

clean:
	rm -rf $(VENV) runs site examples/browser/node_modules
