# The two commands: `make demo` shows it working, `make test` proves it.
# The first one that runs and is new enough: being on PATH is not enough (pyenv's shims fail when called).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SECONDS ?= 60

.PHONY: demo test box package lock check audit bench chaos nightly build docs clean format

demo: .venv/.demo
	$(BIN)/edge-agent demo --seconds $(SECONDS)

# Most tests wait for a server or a clock: two at a time take half as long.
test: .venv/.dev .build/.servers check
	$(BIN)/pytest tests -n 2 --dist loadfile

# Disasters at scale. Together they load the machine that the others are timed on, so one after the other.
chaos: .venv/.dev .build/.servers
	$(BIN)/pytest tests -m chaos -s --durations=20 --tb=short
	$(BIN)/pytest tests/model -m '' -k Machine --hypothesis-profile=chaos

# The installed product, on a Debian that boots beside this one.
box: .venv/.dev .build/.servers
	$(BIN)/pytest tests -m box --durations=10 --tb=short

# What is handed to a customer, into dist/.
package: .venv/.dev
	$(BIN)/python -m deploy.package.build

# The newest libraries that pyproject.toml allows, with their hashes; the same for both architectures.
lock: .venv/.dev
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --extra speed --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --only-binary :all: --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate --output-file deploy/package/requirements.lock

# The full scale: hours.
nightly: .venv/.dev .build/.servers
	$(BIN)/pytest tests -m 'chaos or nightly' -s --durations=20 --tb=short
	$(BIN)/pytest tests/model -m '' -k Machine --hypothesis-profile=nightly

check: .venv/.dev
	@$(MAKE) --no-print-directory -j2 check-style check-types check-layers check-repository

.PHONY: check-style check-types check-layers check-repository
check-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
check-types:
	$(BIN)/mypy
check-layers:
	$(BIN)/lint-imports
check-repository:
	$(BIN)/python -m tests.repository

bench: .venv/.dev .build/.servers
	$(BIN)/python -m tests.bench

# Known vulnerabilities of the versions that the package carries. Needs the network; without it, it fails.
LOCK ?= deploy/package/requirements.lock
audit: .venv/.dev
	$(BIN)/python -m tests.lock_audit $(LOCK)

docs: .venv/.dev
	$(BIN)/python -m tests.repository --write

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: .venv/.dev
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv .build dist

.venv/.created:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "edge-agent needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { echo "no venv module: install it first (Debian, Ubuntu: apt-get install python3-venv)" >&2; rm -rf .venv; exit 1; }
	@touch $@

.venv/.demo: .venv/.created pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

.venv/.dev: .venv/.created pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/.demo

# Real counterparts: Mosquitto, a C compiler and libmodbus from the system, node-opcua through Node from PyPI.
.build/.servers: .venv/.dev tests/servers/install.sh $(wildcard tests/servers/opcua/package.json)
	sh tests/servers/install.sh $(BIN)/python
	@touch $@
