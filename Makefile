# Everything one needs from a clean clone. Each target first installs what it needs and says so
# (scripts/install-dependencies). `make help` lists the targets.

SWIFT ?= swift
IMPORTS := --explicit-target-dependency-import-check error
OPTIMIZED := -c release $(IMPORTS) --static-swift-stdlib -Xswiftc -cross-module-optimization
RELEASE := $(OPTIMIZED) --product pgcache
BINARY := .build/release/pgcache

.PHONY: help build demo run test simulate mutants regress fuzz bench profile soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the release binary, .build/release/pgcache
	@scripts/install-dependencies build
	$(SWIFT) build $(RELEASE)

demo: build ## throw-away origin, pgcache, mixed load, report; stays up (EXIT=1 ends it, ARGS=...)
	$(BINARY) demo $(if $(filter-out 0,$(EXIT)),--exit) $(ARGS)

run: build ## run in front of ORIGIN=postgres://user:password@host:port/db (ARGS=...)
	@test -n "$(ORIGIN)" || { echo 'usage: make run ORIGIN=postgres://user:password@host:port/db' >&2; exit 2; }
	$(BINARY) run --origin "$(ORIGIN)" --listen-socket 127.0.0.1:6432 \
		--metrics-socket 127.0.0.1:9090 $(ARGS)

test: ## unit, dialogue, style, integration tests, simulated worlds, fuzzing; a table of times; totals on the last line
	@scripts/install-dependencies test
	@SWIFT="$(SWIFT)" BUILD_OPTIMIZED="$(SWIFT) build $(OPTIMIZED)" scripts/test $(ARGS)

simulate: ## fresh simulated worlds until stopped, or for SECONDS; a line a minute (docs/simulation.md)
	@scripts/install-dependencies build
	$(SWIFT) build $(OPTIMIZED) --product simulate
	.build/release/simulate --fresh $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

mutants: ## switch each rule off in turn; prints what catches it, fails if nothing does (ARGS='name …')
	@scripts/install-dependencies test
	$(SWIFT) build $(OPTIMIZED) --scratch-path .build-mutants -Xswiftc -DMUTANTS --product simulate
	$(SWIFT) build $(OPTIMIZED) --scratch-path .build-mutants -Xswiftc -DMUTANTS --product pgcache
	.build-mutants/release/simulate --mutants $(ARGS)
	scripts/mutants-on-postgres .build-mutants/release/pgcache $(ARGS)

regress: build ## PostgreSQL's own regression tests through pgcache and straight: the same output (ARGS=--help)
	@scripts/install-dependencies test
	.build-venv/bin/python scripts/regress $(ARGS)

fuzz: ## every decoder of outside bytes under libFuzzer, SECONDS each (default 600)
	@scripts/install-dependencies test
	@SWIFT="$(SWIFT)" scripts/fuzz --seconds $(or $(SECONDS),600) $(ARGS)

bench: build ## hits and forwards beside pgbouncer, Redis, an echo server, a relay; ranges and writes beside the origin
	@scripts/install-dependencies bench
	perf/bench $(ARGS)

profile: build ## pinned run under load; prints the hottest functions (ARGS=--help)
	@scripts/install-dependencies bench
	scripts/profile $(ARGS)

soak: build ## 10 000 random SELECTs, 40 000 pairs with changes, sqlsmith; writers and readers for SECONDS (default 3600)
	@scripts/install-dependencies soak
	PGCACHE_QUERIES=10000 PGCACHE_PAIRS=40000 PGCACHE_SQLSMITH=5000 .build-venv/bin/python -m pytest -s \
		$(addprefix Tests/IntegrationTests/test_,random_queries.py soundness.py sqlsmith.py) \
		$(addprefix Tests/IntegrationTests/test_rows_,random.py soundness.py sqlsmith.py) $(ARGS)
	PGCACHE_SOAK_SECONDS=$(or $(SECONDS),3600) .build-venv/bin/python -m pytest -s \
		Tests/IntegrationTests/test_coherence.py --timeout 0 $(ARGS)

clean: ## remove what was built
	rm -rf .build .build-venv .build-fuzz .build-mutants
