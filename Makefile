# The commands of the house. Logic longer than a line lives in local/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
UV := .local/uv/bin/uv
PY := .venv/bin/python
export UV_LINK_MODE ?= copy

# Each has a lock of its own.
PROJECTS := . images/opencode local/ministack local/sam
# What the layer is made of, and what sandboxd promises, as derived from the sources.
EXPORT = $(UV) export --quiet --frozen --package threadbox --package chat --package oauth-proxy --package sandbox-ctl \
	--no-dev --no-emit-workspace --no-header
SANDBOXD_API = $(UV) run --quiet --locked --project images/opencode python -m sandboxd.openapi
API = $(PY) -m local.contract.openapi
ERRORS = $(PY) -m local.contract.errors

.PHONY: help tools up down status logs token test test-long opencode-contract bench check fix lock openapi \
	reseal rollout deploy

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(UV):
	@echo "installing uv $(UV_VERSION) into .local/uv"
	@rm -rf .local/uv && python3 -m venv .local/uv && .local/uv/bin/pip install --quiet uv==$(UV_VERSION)

tools: $(UV)
	@$(UV) sync --quiet --locked

up: tools ## start the local stack and print the page's address
	@$(PY) -m local.stack up

down: tools ## stop it; no process is left
	@$(PY) -m local.stack down

status: tools ## what runs where
	@$(PY) -m local.stack status

logs: tools ## logs of functions and sandboxes (ARGS="-f" follows)
	@$(PY) -m local.stack logs $(ARGS)

token: tools ## a session token: make token THREAD=… USER=… [TTL=900]
	@$(PY) -m local.stack token --thread "$(THREAD)" --user "$(USER)" --ttl "$(or $(TTL),900)"

test: tools ## all tests but the long ones; ARGS="tests/unit -k turns" runs some of them
	@$(PY) -m local.stack install
	@$(if $(ARGS),,$(UV) run --quiet --project images/opencode pytest -q -c images/opencode/pyproject.toml -n 3 --dist loadfile -m "not long" images/opencode/tests)
	@$(PY) -m pytest -q -n 3 --dist loadfile -m "not long" $(ARGS)

test-long: tools ## the tests that take minutes each
	@$(PY) -m local.stack install
	@$(if $(ARGS),,$(UV) run --quiet --project images/opencode pytest -q -c images/opencode/pyproject.toml -m long images/opencode/tests)
	@$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --stack-each -m long $(ARGS)

opencode-contract: tools ## what we rely on, asked of a version of OpenCode: make opencode-contract [VERSION=1.18.33]
	@$(PY) -m local.stack install sandboxd
	@$(PY) -m local.contract.opencode "$(VERSION)"

bench: tools ## times, calls and memory against bare OpenCode; ARGS=--quick: a small run
	@$(PY) -m bench $(ARGS)

check: tools ## ruff, mypy, template, locks, OpenAPI, page
	@$(PY) -m local.stack install sandboxd opencode page-packages
	@$(PY) -m ruff check --quiet . && $(PY) -m ruff format --quiet --check .
	@$(PY) -m mypy local layers functions bench operate
	@cd images/opencode && ../../$(UV) run --quiet --locked mypy
	@.venv/bin/cfn-lint template.yaml
	@for project in $(PROJECTS); do $(UV) lock --quiet --check --project $$project; done
	@diff <($(EXPORT)) layers/common/requirements.txt
	@diff <($(SANDBOXD_API)) images/opencode/openapi.json
	@diff <($(API)) docs/openapi.json
	@diff <($(ERRORS)) docs/errors.md
	@npm --prefix webapp run --silent check

fix: tools ## repair what can be repaired
	@$(PY) -m ruff check --quiet --fix . ; $(PY) -m ruff format --quiet .
	@npm --prefix webapp run --silent fix

openapi: tools ## write the OpenAPI files and the table of errors anew
	@$(SANDBOXD_API) > images/opencode/openapi.json
	@$(API) > docs/openapi.json
	@$(ERRORS) > docs/errors.md

reseal: tools ## seal every grant under the vault's current key: make reseal ENV=dev
	@$(PY) -m operate.reseal --env $(or $(ENV),dev)

rollout: tools ## who gets a sandbox: make rollout ENV=dev [TO=all|off|list|stop|resume] [USERS=ann,bob]
	@$(PY) -m operate.rollout --env $(or $(ENV),dev) $(if $(TO),--to "$(TO)") --users "$(USERS)"

deploy: tools ## deploy to AWS: make deploy ENV=dev
	@$(PY) -m local.stack install sam
	PATH="$(CURDIR)/.local/uv/bin:$$PATH" .local/sam/bin/sam build --config-env $(or $(ENV),dev)
	.local/sam/bin/sam deploy --config-env $(or $(ENV),dev)

lock: $(UV) ## write the lock files anew
	@for project in $(PROJECTS); do $(UV) lock --quiet --project $$project; done
	@$(EXPORT) > layers/common/requirements.txt
