# Everything that is done with this repository more than once. `make` alone lists it.
#
# Needs: Go, and for tests a C compiler (for the race detector), one of the Postgres sources that `make test` names when it
# finds none, and Chromium or Chrome. The tools are built at first use from tools/go.mod.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# More arguments for the program that a target runs, for example: make test ARGS='-run TestCharge -v'
ARGS ?=
# The packages that a target works on, for example: make test PKG=./internal/ledger
PKG ?= ./...

# Built tools are kept by Go version: a linter that was built by an older Go refuses newer code.
TOOLS := bin/tools-$(shell go env GOVERSION)
GOLANGCI_LINT := $(TOOLS)/golangci-lint
GOTESTSUM := $(TOOLS)/gotestsum
GOVULNCHECK := $(TOOLS)/govulncheck
SPECLINT := $(TOOLS)/speclint

# Compose in either of its forms: the plugin of Docker, or a program.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# The database that `make psql` and `make audit` mean: DATABASE_URL, else that of the `make run` in another terminal.
define database_url
url=$${DATABASE_URL:-$$(bin/paymentsvc dev --print-database-url)} && test -n "$$url"
endef

##@ Run

.PHONY: run
run: build ## Start the service with a database of its own: nothing to install or set up
	@exec bin/paymentsvc dev $(ARGS)

.PHONY: compose-up
compose-up: ## Start two instances on one Postgres in containers: docs/compose.md walks through it (needs Docker)
	$(COMPOSE) up --build --detach $(ARGS)

.PHONY: psql
psql: build ## Open psql on DATABASE_URL, else on the database of `make run`
	@$(database_url) && exec psql "$$url" $(ARGS)

.PHONY: audit
audit: build ## Check every invariant of the books in that same database
	@$(database_url) && DATABASE_URL="$$url" exec bin/paymentsvc audit $(ARGS)

.PHONY: bench
bench: build ## Measure charges a second beside pgbench (minutes): ARGS='--prices --out docs/bench'
	@go build -o bin/onefile ./examples/onefile
	@exec bin/paymentsvc bench --commit="$$(git describe --always --dirty --abbrev=12)" \
		--onefile=bin/onefile $(ARGS)

##@ Work

.PHONY: build
build: ## Compile bin/paymentsvc
	@# No cgo and no debug information, as in the image: -dwarf=false does not even make what -s -w would drop. GOGC is
	@# the compiler's, which collects less often and is done sooner.
	@CGO_ENABLED=0 GOGC=400 go build -gcflags=all=-dwarf=false -ldflags='-s -w' -o bin/paymentsvc ./cmd/paymentsvc

.PHONY: test
test: $(GOTESTSUM) ## Run every test that CI runs, on a real Postgres; narrow it by PKG= and ARGS=
ifeq ($(PKG)$(ARGS),./...)
	@tools/need-browser
	@# This one sends ten thousand requests, and with the race detector only a part of them.
	@$(GOTESTSUM) --format=pkgname-and-test-fails -- -run=Naughty -timeout=5m ./internal/httpapi
endif
	@# One package after the other: many of them measure how long somebody waits, and make others wait. Within one, twice as many
	@# tests at once as processors: most of a test is waiting too.
	@$(GOTESTSUM) --format=pkgname-and-test-fails --format-hide-empty-pkg -- \
		-race -shuffle=on -timeout=10m -p=1 -parallel=$$((2 * $$(getconf _NPROCESSORS_ONLN))) $(ARGS) $(PKG)

.PHONY: lint
lint: lint-api $(GOLANGCI_LINT) ## Check style, mistakes, formatting and who imports whom
	@$(GOLANGCI_LINT) config verify
	@$(GOLANGCI_LINT) run $(ARGS) $(PKG)

.PHONY: lint-api
lint-api: $(SPECLINT) ## Check the OpenAPI document alone
	@$(SPECLINT) api/lint.yaml api/openapi.yaml

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code and sort its imports
	@$(GOLANGCI_LINT) fmt

.PHONY: check
check: lint modules macos test ## Everything that should hold before a push

.PHONY: modules
modules: ## Check that go.mod and go.sum say what the code needs, and that the downloads are what they say
	go mod tidy -diff
	go mod tidy -C tools -diff
	go mod verify

.PHONY: macos
macos: ## Check that everything, tests included, compiles for macOS
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go vet $(PKG)

.PHONY: compose-test
compose-test: ## Run docker-compose.yml, kill its parts under load, and check that each key charged once (needs Docker)
	@go test -tags=compose -count=1 -timeout=20m -v $(ARGS) ./test/compose

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Look for known vulnerabilities in what the code calls (asks the Go vulnerability database)
	@$(GOVULNCHECK) $(ARGS) $(PKG)

##@ Upkeep

.PHONY: schema-docs
schema-docs: ## Draw docs/schema.md and migrations/guards.txt from a migrated database
	@go test ./migrations -run='SchemaPage|GuardsAreThose' -update

.PHONY: tools
tools: $(GOLANGCI_LINT) $(GOTESTSUM) $(SPECLINT) ## Build the tools now rather than at first use

.PHONY: clean
clean: ## Delete what make has built (no data: databases are elsewhere)
	rm -rf bin

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The paths are those of the tool lines in tools/go.mod.
$(GOLANGCI_LINT): PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOTESTSUM): PACKAGE := gotest.tools/gotestsum
$(GOVULNCHECK): PACKAGE := golang.org/x/vuln/cmd/govulncheck
# This one is a program of ours around a library.
$(SPECLINT): PACKAGE := ./speclint
$(SPECLINT): tools/speclint/main.go

$(TOOLS)/%: tools/go.mod tools/go.sum
	@echo "Building $(@F): once, and for golangci-lint it takes minutes"
	@go build -C tools -o ../$@ $(PACKAGE)
