# Every target prepares what it needs: $(VENV), the locked packages, this project in it. Only python3 (3.11 or newer,
# with venv) and make have to be there. Without make, for example on Windows: README.md has the one line.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# uv is pip, faster. It is taken from the machine if it works there, else from the lock. The settings named here would
# make either of them install elsewhere than into $(VENV), or refuse to.
UV = env UV_REQUIRE_HASHES=0 $$(uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)
PIP = env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_REQUIRE_HASHES=0 \
	$(BIN)/python -m pip
HAVE_UV = $(UV) --version >/dev/null 2>&1 || { awk '/^uv==/, !/\\$$/' requirements.lock >$(VENV)/uv.txt && \
	$(PIP) install --quiet --require-hashes -r $(VENV)/uv.txt; }

# What an instance of the host needs where it serves, and nothing of what builds or tests it.
SERVED = --extra host --extra postgresql --extra redis --extra valkey --extra cli

.DEFAULT_GOAL := help
.PHONY: help run fleet test stacks attack fuzz soak bench lint types docs-check lock dist clean

help: ## say what can be made (this)
	@echo "make TARGET [ARGS=...]   ARGS goes to the tool behind the target: make test ARGS='-k keys'"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: HOST and PORT (run), any variable of .env.example,"
	@echo "           PYTHON=python3.12 (the interpreter, when $(VENV) is made), VENV=.venv-3.12 (another folder)"

run: $(READY) ## start the host application at http://127.0.0.1:5000 (HOST and PORT change that)
	@$(BIN)/python -m openalgo_host $(ARGS)

fleet: $(READY) ## start three instances behind nginx, with Redis and PostgreSQL, at http://127.0.0.1:8080 (ARGS=--help)
	@$(BIN)/python -m tests.fleet $(ARGS)

test: $(READY) ## run the tests, except those that take minutes
	@$(BIN)/python -m pytest -n 3 --dist loadgroup $(ARGS)

stacks: $(READY) ## run all tests of the host on SQLite, on Redis + PostgreSQL, and on Valkey + PostgreSQL
	@$(BIN)/python -m pytest -n 3 --dist loadgroup --stack all tests/host $(ARGS)

attack: $(READY) ## attack what is stored, served and logged, and print what came of it
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m '' --timeout 1800 tests/security $(ARGS)

fuzz: $(READY) ## look for input that is not borne as promised (ARGS='records --minutes 30')
	@$(BIN)/python -m tests.security.fuzz $(ARGS)

soak: $(READY) ## run the tests that take minutes, one after the other
	@$(BIN)/python -m pytest -m soak --timeout 1800 $(ARGS)

bench: $(READY) ## measure, as ratios to other caches in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY) ## check style, format and the direction of imports
	@$(BIN)/ruff check $(ARGS)
	@$(BIN)/ruff format --check $(ARGS)
	@$(BIN)/lint-imports --no-logo

types: $(READY) ## check types, as they are here and, of what is shipped, on Windows
	@$(BIN)/mypy $(ARGS)
	@$(BIN)/mypy --platform win32 src $(ARGS)

docs-check: $(READY) ## check links, examples and generated pages (ARGS=--write renews those)
	@$(BIN)/python docs/check.py $(ARGS)

lock: | $(BIN)/python ## renew the three locks from pyproject.toml (ARGS=--upgrade takes newer versions)
	@$(HAVE_UV)
	@$(UV) pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock $(ARGS)
	@sed -n 's/^sqlcipher = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(UV) pip compile - --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet \
		--output-file requirements-sqlcipher.lock $(ARGS)
	@$(UV) pip compile pyproject.toml $(SERVED) --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet \
		--output-file requirements-host.lock
	@! grep -n '://' requirements*.lock || { echo "A lock names a host; it must not." >&2; exit 1; }

dist: $(READY) ## build the wheel and the source archive into dist/
	@$(BIN)/python -m build --no-isolation $(ARGS)

clean: ## remove what make has made: environment, builds, caches (never data or settings)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "openalgo-cache needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || uv venv --quiet --clear --seed --python $(PYTHON) $(VENV) || { \
		echo "'$(PYTHON)' cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; \
		rm -rf $(VENV); exit 1; }

# Installs, never removes: whoever is using the environment goes on using it. pip, with settings of its own (a mirror,
# say), has a try where uv fails; both hold every package against the hashes of the lock. The apsw that encrypts files
# excludes the other: it gets a folder of its own, which tests that need it put first on their path.
$(READY): requirements.lock requirements-sqlcipher.lock pyproject.toml | $(BIN)/python
	@echo "Installing the locked packages into $(VENV)"
	@$(HAVE_UV)
	@{ $(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
		$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; } || \
	{ $(PIP) install --quiet --require-hashes -r requirements.lock && \
		$(PIP) install --quiet --no-deps --no-build-isolation -e .; }
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --target $(VENV)/sqlcipher \
		-r requirements-sqlcipher.lock || \
		$(PIP) install --quiet --require-hashes --upgrade --target $(VENV)/sqlcipher -r requirements-sqlcipher.lock
	@touch $@
