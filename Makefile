# Everything from a clean checkout: `make demo` and `make test` install what they need into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TYPES := .types/ovdeploy
JOBS ?= 2

.PHONY: demo test check types clean help

help:
	@echo "make demo   install, export the recipe 'tiny', segment a photo, say where the results are"
	@echo "make test   install, lint, check types, run all tests (full-size ones too: make test PYTEST='-m \"not slow\"' leaves them out)"
	@echo "make clean  remove the virtual environment and everything that was made"

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed here: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --editable '.[cpu,export,dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/export-engines tiny --output demo/tiny
	$(BIN)/ovdeploy segment engines/coffee.jpg --bundle demo/tiny --output demo \
	  --classes "cup; mug, saucer, spoon, table, coffee, napkin"
	@echo
	@echo "overlay  demo/coffee.overlay.png"
	@echo "mask     demo/coffee.mask.png   (class indices)"
	@echo "JSON     demo/coffee.json       (areas, boxes, scores, timings)"
	@echo "The recipe 'tiny' has random weights: the masks follow the photo, but the names mean nothing."

# Tests run JOBS at a time, each on one thread: several threads a test would wait for each other. Full-size ones take 8 GB.
test: check types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees the folders under their import names through a tree of links.
types: $(INSTALLED)
	@mkdir -p $(TYPES)
	@for folder in export runtime calib engines; do ln -sfn ../../$$folder $(TYPES)/$$folder; done
	MYPYPATH=.types $(BIN)/mypy -p ovdeploy

clean:
	rm -rf $(VENV) .types .mypy_cache .ruff_cache .pytest_cache demo build dist *.egg-info
