# Two commands on a fresh machine with Python 3.10 to 3.13 and make:
#   make demo   set up, search on a Jetson TX2, draw the front, export the best network, segment a generated street
#               and, with IMAGE=street.png, an image of yours
#   make test   set up and run the tests
# For work on the code:
#   make test-fast   the tests that are not slow
#   make check       format, lint, types, import rules, all tests
#   make coverage    all tests, with the share of lines that they run
#   make lowest      the light tests with the lowest versions of the base dependencies
#   make docs        write the generated pages anew and build the documentation in build/site
#   make bench       the quick benchmarks, or make bench PARTS='sampling --full'; see python -m benchmarks --list

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/demo
IMAGE ?=

# Where an environment forbids bytecode, each test process would compile everything and rewrite all assertions anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-fast check lint coverage lowest bench docs site clean

demo: $(VENV)/.demo
	$(BIN)/zoo search --device tx2 --max-latency-ms 150 --max-power-w 2 --max-params 400k -o $(RUN)
	$(BIN)/zoo verify $(RUN)
	$(BIN)/zoo export '$(RUN)#1' --size 1024x512 --opset 13 -o $(RUN)/best.onnx
	$(BIN)/zoo scene -o $(RUN)
	$(BIN)/zoo segment $(RUN)/scene-2000000.png $(IMAGE) --model espnet.camvid --overlay -o $(RUN)
	@echo
	@echo "The front is in $(RUN)/front.csv, its chart in $(RUN)/pareto.png, the best network in $(RUN)/best.onnx,"
	@echo "the generated street in classes in $(RUN)/scene-2000000.overlay.png. An image of yours: make demo IMAGE=street.png"
	@echo "Next: $(BIN)/zoo list, $(BIN)/zoo show espnet-c --layers, $(BIN)/zoo get espnet-c --pretrained,"
	@echo "      $(BIN)/zoo segment IMAGE --model espnet.cityscapes --overlay, $(BIN)/zoo search --help"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

lowest:
	PYTHON=$(PYTHON) sh tests/lowest.sh

check: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(PARTS)

docs: $(VENV)/.dev
	$(BIN)/python -m docs.generate
	$(BIN)/mkdocs build --quiet --strict

site: $(VENV)/.dev
	$(BIN)/mkdocs build --quiet --strict

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else f"Python 3.10 to 3.13 is needed, but $(PYTHON) is {v[0]}.{v[1]}; call make with PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[torch,onnx,plots]'
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
