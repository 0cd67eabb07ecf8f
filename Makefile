# make run      build and serve from ./chancery-data
# make test     everything that a change must pass, set-up included, under 20 minutes
# make test-long, test-faults, bench, lint, vuln, fmt: see below

GO         ?= go
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
DATE       ?= $(shell date -u +%Y-%m-%dT%H:%M:%SZ)
LDFLAGS     = -s -w -X main.version=$(VERSION) -X main.date=$(DATE)
BUILD       = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.8.0
VULNDB      = https://vuln.go.dev

# The version is in the flags above; a checkout that git does not trust builds too.
export GOFLAGS += -buildvcs=false

# The clients that interop/ drives and the server of store/postgres, which
# starts clusters of its own, and the Debian packages that hold them.
CLIENTS  = certbot lego openssl curl strace scepclient pki /usr/lib/ipsec/plugins/libstrongswan-curl.so /usr/lib/postgresql/*/bin/initdb
PACKAGES = certbot lego openssl curl strace scep strongswan-pki libstrongswan-standard-plugins libstrongswan-extra-plugins ca-certificates postgresql

# Packages with goroutines that share something run under the race detector.
# The rest of the tests runs other processes, which it would not see into.
RACE  = ./engine/... ./store/... ./frontends/... ./modules/... ./cmd/...
PLAIN = ./interop/...

FUZZTIME ?= 10s

.PHONY: build run deps test test-long test-faults fuzz bench lint vuln fmt clean

build:
	$(BUILD) -o bin/chancery ./cmd/chancery

run: build
	bin/chancery serve

# deps installs what the tests need and is not there.
deps:
	@.ci/deps $(CLIENTS) -- $(PACKAGES)

test: deps
	$(GO) test -timeout 10m -race $(RACE)
	$(GO) test -timeout 10m -race -tags faults ./engine
	$(GO) test -timeout 15m $(PLAIN)

# test-faults breaks everything around the server, many times, and checks every
# record after each: docs/reliability.md. CHANCERY_KILLS says how many random kills.
test-faults: deps
	CHANCERY_LONG=1 $(GO) test -count=1 -timeout 120m -v -run 'Crash|Kills|Fault|XD_' ./interop
	CHANCERY_LONG=1 $(GO) test -count=1 -timeout 30m -run 'Crash|XD_' ./store/bolt

# test-long: races everywhere, long crash loops, every fuzz test, benchmarks.
test-long: deps
	CHANCERY_LONG=1 $(GO) test -count=1 -timeout 120m -race ./...
	CHANCERY_LONG=1 $(GO) test -count=1 -timeout 30m -race -tags faults ./engine
	$(MAKE) fuzz
	$(GO) test -run '^$$' -bench . -benchtime 1s ./engine/... ./store/... ./frontends/...

# fuzz runs each FuzzXxx for FUZZTIME.
fuzz:
	GO=$(GO) .ci/fuzz $(FUZZTIME)

# bench measures what docs/performance.md promises, on both backends, fsync on: 15
# to 20 minutes. BENCH takes flags: make bench BENCH=-short, BENCH='-only ACME'.
bench: deps build
	$(BUILD) -o bin/load ./interop/load
	$(GO) run ./interop/bench -chancery bin/chancery -load bin/load -out bench.jsonl $(BENCH)

lint:
	@bad=$$(git ls-files '*.go' | xargs gofmt -l); if [ -n "$$bad" ]; then echo "gofmt would change (make fmt):"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags faults ./...
	$(GO) run $(STATICCHECK) ./...

vuln:
	@if curl -fsS -m 15 -o /dev/null $(VULNDB)/index/db.json; then $(GO) run $(GOVULNCHECK) ./...; \
	else echo "vuln: $(VULNDB) cannot be reached from here; nothing was checked"; fi

fmt:
	gofmt -w $$(git ls-files '*.go')

clean:
	rm -rf bin bench.jsonl
