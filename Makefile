# The tasks of this repository. `make` alone lists them.
#
# They need Go. Tests also need a C compiler (for the race detector), Chromium or Chrome, PgBouncer,
# nats-server, npm and a Postgres; without one, `make test` names the ways to get it. The tools are built at first use from
# tools/go.mod.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# More arguments for a target's program, for example: make test ARGS='-run TestCharge -v'
ARGS ?=
# The packages of a target, for example: make test PKG=./internal/ledger
PKG ?= ./...

# Built tools are kept per Go version: a linter that an older Go has built refuses newer code.
TOOLS := bin/tools-$(shell go env GOVERSION)
GOLANGCI_LINT := $(TOOLS)/golangci-lint
GOTESTSUM := $(TOOLS)/gotestsum
GOVULNCHECK := $(TOOLS)/govulncheck
SPECLINT := $(TOOLS)/speclint

# Compose is a plugin of Docker or a program.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# The database of `make psql` and `make audit`: DATABASE_URL, else the one of a running `make run`.
define database_url
url=$${DATABASE_URL:-$$(bin/paymentsvc dev --print-database-url)} && test -n "$$url"
endef

##@ Run

.PHONY: run
run: build ## Start the service with its own database, without any setup
	@exec bin/paymentsvc dev $(ARGS)

.PHONY: compose-up
compose-up: ## Start two instances on one Postgres in containers, see docs/compose.md (needs Docker)
	$(COMPOSE) up --build --detach $(ARGS)

.PHONY: psql
psql: build ## Open psql on DATABASE_URL, else on the database of `make run`
	@$(database_url) && exec psql "$$url" $(ARGS)

.PHONY: audit
audit: build ## Check every invariant in the same database as `make psql`
	@$(database_url) && DATABASE_URL="$$url" exec bin/paymentsvc audit $(ARGS)

.PHONY: bench
bench: build ## Measure charges per second beside pgbench (minutes): ARGS='--prices --out docs/bench'
	@go build -o bin/onefile ./examples/onefile
	@exec bin/paymentsvc bench --commit="$$(git describe --always --dirty --abbrev=12)" \
		--onefile=bin/onefile $(ARGS)

##@ Work

.PHONY: build
build: ## Compile bin/paymentsvc
	@# No cgo and no debug information, as in the image. With -dwarf=false the compiler does not
	@# write what -s -w would drop. GOGC makes the compiler collect garbage less often.
	@CGO_ENABLED=0 GOGC=400 go build -gcflags=all=-dwarf=false \
		-ldflags="-s -w -X main.commit=$$(git describe --always --dirty --abbrev=40 2>/dev/null)" \
		-o bin/paymentsvc ./cmd/paymentsvc

# The packages whose tests run with the race detector, and the flags that leave tests out.
RACED = $(PKG)
LEFTOUT =
ifeq ($(PKG)$(ARGS),./...)
LEFTOUT = -skip='$(MANY)'
RACED = $$(go list ./... | grep -v -e '/test/cards$$' -e '/test/torture$$' -e '/cmd/paymentsvc$$' \
	-e '/internal/console$$' -e '/test/conformance$$')
endif

# Tests of internal/httpapi that send thousands of requests, one after another.
MANY = Naughty|DescribedRequest

# The packages with SQL, whose tests also run in sharded mode (internal/postgres/sharded.go). They run two at
# a time. HangingReceiver is left out, because it compares two measured times.
SHARDED = $(addprefix ./internal/,payments idempotency ledger outbox webhooks cards merchants postgres audit) \
	./test/messages

.PHONY: test
test: $(GOTESTSUM) ## Run every test of CI, on a real Postgres; select by PKG= and ARGS=
ifeq ($(PKG)$(ARGS),./...)
	@tools/need-programs
	@# These send thousands of requests, kill forty instances, or start many programs and browsers. With
	@# the race detector they would take minutes, or be fewer.
	@$(GOTESTSUM) --format=pkgname-and-test-fails -- -run='$(MANY)' -timeout=5m ./internal/httpapi
	@$(GOTESTSUM) --format=pkgname-and-test-fails -- -shuffle=on -p=1 -parallel=4 -timeout=5m \
		./test/cards ./test/torture
	@$(GOTESTSUM) --format=pkgname-and-test-fails -- -shuffle=on -p=2 -parallel=4 -timeout=5m \
		./cmd/paymentsvc ./internal/console ./test/conformance
	@TEST_POSTGRES_MODE=sharded $(GOTESTSUM) --format=pkgname-and-test-fails --format-hide-empty-pkg -- \
		-shuffle=on -p=2 -parallel=6 -timeout=5m -skip=HangingReceiver $(SHARDED)
endif
	@# Packages run one after another, because many measure waiting times; so go list first compiles
	@# them on all processors. GORACE drops the second that a race-built program sleeps at its end
	@# for goroutines that outlive main: the packages that start any also check that all have ended.
	@go list -race -test -export $(RACED) >/dev/null
	@# Within a package, twice as many tests as processors run at once, because tests mostly wait.
	@GORACE="atexit_sleep_ms=0 $$GORACE" $(GOTESTSUM) --format=pkgname-and-test-fails --format-hide-empty-pkg -- \
		-race -shuffle=on -timeout=10m -p=1 -parallel=$$((2 * $$(getconf _NPROCESSORS_ONLN))) $(LEFTOUT) \
		$(ARGS) $(RACED)

.PHONY: lint
lint: lint-api $(GOLANGCI_LINT) ## Check style, mistakes, formatting and import rules
	@$(GOLANGCI_LINT) config verify
	@$(GOLANGCI_LINT) run $(ARGS) $(PKG)

.PHONY: lint-api
lint-api: $(SPECLINT) ## Check only the OpenAPI document
	@$(SPECLINT) api/lint.yaml api/openapi.yaml

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code and sort its imports
	@$(GOLANGCI_LINT) fmt

.PHONY: check
check: lint modules macos test ## Run all checks before a push

.PHONY: modules
modules: ## Check that go.mod and go.sum match the code and the downloads
	go mod tidy -diff
	go mod tidy -C tools -diff
	go mod verify

.PHONY: macos
macos: ## Check that all code, including tests, compiles for macOS
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go vet $(PKG)

.PHONY: compose-test
compose-test: ## Kill parts of docker-compose.yml under load: each key charges once (needs Docker)
	@go test -tags=compose -count=1 -timeout=20m -v $(ARGS) ./test/compose

.PHONY: test-long
test-long: ## Kill instances 200 times within calls to the card processor, and send 200,000 webhooks (minutes)
	@LONG_TESTS=1 go test -count=1 -timeout=40m -p=1 -v -run='KilledAtEachStep|Hanging' $(ARGS) ./test/cards ./internal/webhooks

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Look for known vulnerabilities in called code (uses the Go vulnerability database)
	@$(GOVULNCHECK) $(ARGS) $(PKG)

##@ Upkeep

.PHONY: schema-docs
schema-docs: ## Generate docs/schema.md and migrations/guards.txt from a migrated database
	@go test ./migrations -run='SchemaPage|GuardsAreThose' -update

.PHONY: tools
tools: $(GOLANGCI_LINT) $(GOTESTSUM) $(SPECLINT) ## Build the tools now, not at first use

.PHONY: clean
clean: ## Delete built files (databases are elsewhere)
	rm -rf bin

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The packages of the tool lines in tools/go.mod.
$(GOLANGCI_LINT): PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOTESTSUM): PACKAGE := gotest.tools/gotestsum
$(GOVULNCHECK): PACKAGE := golang.org/x/vuln/cmd/govulncheck
# A program of this repository around a library.
$(SPECLINT): PACKAGE := ./speclint
$(SPECLINT): tools/speclint/main.go

$(TOOLS)/%: tools/go.mod tools/go.sum
	@echo "Building $(@F): once, and for golangci-lint it takes minutes"
	@go build -C tools -o ../$@ $(PACKAGE)
