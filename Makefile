# Everything a newcomer runs. The first word of each line of help is the target.

TOOL = go tool -modfile=tools/go.mod
KUBE = go tool -modfile=tools/kube/go.mod

# The same for all that is built without the race detector: other flags, such as -trimpath, would compile all anew.
export CGO_ENABLED = 0

# What compiles for the first time takes minutes, and says nothing meanwhile.
FIRST = [ -x bin/sluice ] || echo "Compiling: the first time this takes some minutes."

.DEFAULT_GOAL := help
# Every target that `make help` shows.
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*\#\# .*/\1/p' Makefile)

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: ## an order pipeline through all programs in one process; needs nothing but Go
	@$(FIRST)
	go build -o bin/ ./cmd/sluice
	bin/sluice demo

build: ## all programs, into bin/
	@$(FIRST)
	go build -o bin/ ./cmd/...

# Debian does not have the programs of the server on the PATH.
POSTGRESQL = $(or $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb)),initdb):postgresql

# In front of a command that needs Node.js: Debian 12 has one that is too old.
NODE = node=$$(tools/node) && PATH="$$node:$$PATH"

# Three packages at a time: many tests wait, for a browser, for Meta's pace or for a time limit. The tests that run programs
# find them in out/programs. make check has the whole go vet.
test: ## all tests with the race detector, against a real Redis and PostgreSQL that they start themselves
	@tools/need redis-server:redis-server gcc:gcc,libc6-dev curl:curl openssl:openssl systemd-analyze:systemd chromium:chromium promtool:prometheus amtool:prometheus-alertmanager node:nodejs npm:npm php:php-cli python3:python3 $(POSTGRESQL)
	@$(FIRST)
	@go build -o out/progress ./internal/progress
	@go build -o out/programs/ ./cmd/...
	@$(NODE) CGO_ENABLED=1 out/progress go test -race -vet=off -p 3 -json ./...

e2e-redis: ## the end-to-end tests on Sentinel and on a Cluster, with TLS and users of few rights; ON=cluster for one of them
	@tools/need redis-server:redis-server
	@$(FIRST)
	@set -e; for kind in $(or $(ON),sentinel cluster); do echo "$$kind"; \
		SLUICE_E2E_REDIS=$$kind go test -count=1 -skip 'Readme|Trial|Prometheus|Troubles|DoesNotStop' ./internal/e2e; done

# Each as its directory and its name, with a colon between.
FUZZ = $(shell grep -rEo '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' client internal | sed 's|/[^/]*:func |:|')

# A count, for until Go 1.27 a time now and then fails without a finding: https://go.dev/issue/75804
fuzz: ## every fuzz target in turn, for FUZZTIME each: 30000x, so many inputs, or 10m
	@test -n '$(FUZZ)'
	@$(FIRST)
	@set -e; for t in $(FUZZ); do echo "$$t"; \
		go test -run '^$$' -fuzz "^$${t#*:}\$$" -fuzztime $(or $(FUZZTIME),30000x) -fuzzminimizetime 10x ./$${t%:*}; done

check: check-k8s ## formatting, vet, staticcheck, luacheck, kube-score, checksums of the modules
	@$(FIRST)
	@bad=$$($(TOOL) gofumpt -l client cmd examples internal tools); if [ -n "$$bad" ]; then \
		echo "not formatted by gofumpt (fix: $(TOOL) gofumpt -w client cmd examples internal tools):"; echo "$$bad"; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	@tools/need luacheck:lua-check
	luacheck -q internal/architecture/testdata/lua
	go mod verify

check-k8s: ## kube-score of the manifests of deploy/k8s. What it ignores has its reason in the manifests
	@$(FIRST)
	@for o in dev prod; do found=$$($(KUBE) kustomize build deploy/k8s/overlays/$$o | $(KUBE) kube-score score --output-format ci --exit-one-on-warning -) || { \
		echo "kube-score of deploy/k8s/overlays/$$o:"; echo "$$found" | grep -v '^.OK\|^.SKIPPED'; exit 1; }; done

vuln: ## known holes in what is built in; asks vuln.go.dev
	@$(FIRST)
	$(TOOL) govulncheck ./...

PEERS = out/peers

bench-peers: ## BullMQ, asynq and Sluice in turns against the same far side; ROUNDS=3
	@tools/need redis-server:redis-server node:nodejs npm:npm
	@mkdir -p $(PEERS)
	@cp internal/bench/peers/* $(PEERS)
	$(NODE) npm ci --prefix $(PEERS) --no-audit --no-fund --ignore-scripts
	@$(FIRST)
	go build -o bin/ ./cmd/sluice
	$(NODE) bin/sluice bench peers --peers $(PEERS) --rounds $(or $(ROUNDS),3)

bench: ## the benchmarks
	@tools/need redis-server:redis-server $(POSTGRESQL)
	@$(FIRST)
	go test -run '^$$' -bench . -benchmem ./...

archive-million: ## a million events into the archive, whose database is killed in the middle; a minute
	@tools/need redis-server:redis-server $(POSTGRESQL)
	SLUICE_TEST_ARCHIVE_EVENTS=1000000 go test -count=1 -v -timeout 60m -run '^TestKilledDatabase$$' ./internal/archive

campaign-200000: ## hold, release and cancel a campaign of 200,000 messages while it is sent and workers are killed; five minutes
	@tools/need redis-server:redis-server
	SLUICE_TEST_CAMPAIGN_MESSAGES=200000 go test -count=1 -v -timeout 30m -run '^TestStopCampaign$$' ./internal/e2e

import-million: ## sluice import of a million rows, which is killed twice; twenty minutes
	@tools/need redis-server:redis-server
	SLUICE_TEST_IMPORT_ROWS=$(or $(ROWS),1000000) go test -count=1 -v -timeout 3h -run '^TestImportKilledTwice$$' ./internal/e2e

docs: ## write the generated pages of docs/ anew
	@$(FIRST)
	go generate ./...

SITE = out/site-build

site: ## docs/ as a web site, in out/site; BASE=https://git.example.com/sluice/blob/main links to files of the repository
	@tools/need node:nodejs npm:npm
	@rm -rf $(SITE)/docs $(SITE)/.vitepress && mkdir -p $(SITE)
	@cp -r docs site/. $(SITE)
	$(NODE) npm ci --prefix $(SITE) --no-audit --no-fund --ignore-scripts
	$(NODE) BASE='$(BASE)' $(SITE)/node_modules/.bin/vitepress build $(SITE)
	@echo 'The site is in out/site. To read it: python3 -m http.server -d out/site'

meta-check: ## which pages of Meta's documentation changed since they were read; asks developers.facebook.com; ACCEPT=1 stores that
	@$(FIRST)
	go run ./internal/metapages $(if $(ACCEPT),-accept)

runbook-urls: ## out/alerts.yml, the alerts with links to your copy of the runbooks; BASE=https://git.example.com/sluice/blob/main
	@case '$(BASE)' in http*) ;; *) echo 'runbook-urls: BASE is missing. Run: make runbook-urls BASE=https://git.example.com/sluice/blob/main' >&2; exit 1;; esac
	@mkdir -p out
	sed 's|runbook_url: docs/|runbook_url: $(BASE)/docs/|' deploy/prometheus/alerts.yml > out/alerts.yml

vendor-web: ## copy the scripts of the console's pages from npm, as internal/pages/npm/package-lock.json says
	@tools/need npm:npm
	internal/pages/npm/copy

image: ## out/image.tar, the image of all programs, from the Dockerfile, and starts it once; as root; VERSION=v1.2.3
	@tools/need buildah:buildah git:git
	tools/image

sbom: ## out/sbom.cdx.json, the bill of materials of bin/sluice, in the form of CycloneDX; VERSION=v1.2.3
	@$(FIRST)
	@mkdir -p out
	go build -o bin/ ./cmd/sluice
	go run ./internal/sbom bin/sluice $(or $(VERSION),v0.0.0) > out/sbom.cdx.json
vendor-schemas: ## copy the schemas of Kubernetes, KEDA and the Prometheus Operator, of the versions in tools/kube/schemas.go
	cd tools/kube && go run .

chaos: ## the fault matrix: breaks everything while messages go out, and counts what Meta received; ten minutes
	@tools/need redis-server:redis-server
	@$(FIRST)
	go build -o bin/ ./cmd/sluice
	bin/sluice chaos --quiet

chaos-ci: ## a part of the fault matrix, another one for each SEED, in five minutes at most
	@tools/need redis-server:redis-server
	@$(FIRST)
	go build -o bin/ ./cmd/sluice
	bin/sluice chaos --quiet --ci --seed $(or $(SEED),1)

# The newest release before this version. There was none yet: the last change before the console.
FROM = $(or $(shell git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null),171dc95)

chaos-upgrade: ## an upgrade while messages are sent, from FROM (the last release) to this version, and back
	@tools/need redis-server:redis-server
	@$(FIRST)
	rm -rf out/previous && mkdir -p out/previous && git archive $(FROM) | tar -x -C out/previous
	cd out/previous && go build -buildvcs=false -o bin/ ./cmd/sluice
	go build -o bin/ ./cmd/sluice
	bin/sluice chaos --quiet --only C91,C92 --previous out/previous/bin/sluice

chaos-long: ## the fault matrix for an hour, each time with another seed
	@tools/need redis-server:redis-server
	@$(FIRST)
	go build -o bin/ ./cmd/sluice
	bin/sluice chaos --quiet --long 1h
