# make run   – build Hearth and serve on http://localhost:8008, with a private PostgreSQL
# make test  – run the tests (RACE=1: with the race detector)

SERVER_NAME ?= localhost
CONFIG      ?= data/homeserver.yaml
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
GO          ?= go
TESTFLAGS   := $(if $(RACE),-race,) -timeout 15m

.PHONY: run test interop build lint fmt bench bench-compare setup setup-test

run: build setup
	@mkdir -p $(dir $(CONFIG))
	@test -s $(CONFIG) || { bin/hearth generate-config --server-name $(SERVER_NAME) --data-dir . > $(CONFIG).new && mv $(CONFIG).new $(CONFIG); }
	@exec bin/hearth serve --config $(CONFIG)

build:
	@.ci/need-go
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/hearth ./cmd/hearth

test: setup-test
	@.ci/need-go
	$(GO) test $(TESTFLAGS) ./...

lint:
	@.ci/need-go
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) run ./.ci/lengths

fmt:
	gofmt -w .

bench: build setup
	$(GO) build -o bin/hearth-bench ./cmd/hearth-bench
	.ci/bench

# Hearth federating with a real Dendrite and a real Synapse, which are built and installed
# the first time.
INTEROP_DIR ?= $(HOME)/.cache/hearth-interop
interop: setup-test
	@.ci/need-go
	GO=$(GO) .ci/interop $(INTEROP_DIR)

# Hearth beside Dendrite; the first time takes long, because Dendrite is built and
# its rooms are filled.
bench-compare: build setup
	$(GO) build -o bin/hearth-bench ./cmd/hearth-bench
	bin/hearth-bench compare $(COMPAREFLAGS)

# PostgreSQL's server programs; without them a sentence says what to install.
setup:
	@.ci/setup postgresql

# The tests also speak to Hearth with matrix-js-sdk on Node, and look at its pages in Chromium.
setup-test:
	@.ci/setup postgresql node browser
