# Everything from a clean checkout: `make demo` and `make test` install what they need into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TYPES := .types/ovdeploy
JOBS ?= 2

.PHONY: demo test test-small test-full-size check types clean help

help:
	@echo "make demo   install, export the recipe 'tiny', segment a drawn scene and a photo, say where the results are"
	@echo "make test   install, lint, check types, run all tests (make test-small leaves out those of full-size models)"
	@echo "make clean  remove the virtual environment and everything that was made"

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed here: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --editable '.[cpu,openvino,export,dev]'
	touch $@

# A seed that training never saw; the classes are what it shows, and two that it does not.
DEMO_SEED := 1000004

demo: $(INSTALLED)
	$(BIN)/export-engines tiny --output demo/tiny
	$(BIN)/ovdeploy scenes --seed $(DEMO_SEED) --output demo
	$(BIN)/ovdeploy segment demo/$(DEMO_SEED).png --bundle demo/tiny --output demo \
	  --classes "green striped, green dotted, yellow checked, orange checked, black plain, blue plain, sky, wood, sand, water, grass"
	$(BIN)/ovdeploy segment engines/coffee.jpg --bundle demo/tiny --output demo \
	  --classes "cup; mug, saucer, spoon, table; wood, coffee, napkin"
	@echo
	@echo "a drawn scene  demo/$(DEMO_SEED).png → demo/$(DEMO_SEED).overlay.png, .mask.png (class indices), .json (areas, boxes, scores, timings)"
	@echo "a photo        engines/coffee.jpg → demo/coffee.overlay.png, .mask.png, .json"
	@echo "The recipe 'tiny' is a toy: miniature models, trained on drawn scenes alone. It knows their colours, patterns and"
	@echo "grounds, and hardly anything of a photo; export-engines trident-b16 takes the published models."

test: test-small test-full-size

# JOBS at a time, each on one thread: several threads a test would wait for each other.
test-small: check types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n $(JOBS) --dist loadfile $(PYTEST)

# One at a time: each takes up to 8 GB.
test-full-size: check types
	$(BIN)/python -m pytest -m slow $(PYTEST)

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
