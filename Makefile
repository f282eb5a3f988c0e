# Pollywog. `make help` lists the targets. The commands stand here; npm's scripts call make.
.DEFAULT_GOAL := help
PORT ?= 8080
ROUNDS ?= 3
SECONDS ?= 600
TIMES ?= 100
bin := node_modules/.bin

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

serve: build ## install, build, and run the server on $(PORT)
	node dist/server.js -p $(PORT)

build: node_modules ## compile src/ into dist/
	@$(bin)/tsc -p tsconfig.json
	@$(bin)/tsc -p src/web/page
	@rm -rf dist/web/page && mkdir -p dist/web/page && cp src/web/page/index.html dist/web/page/
	@$(bin)/esbuild src/web/page/chat.ts src/web/page/*.css --bundle --minify --format=esm --target=es2022 \
		--outdir=dist/web/page --log-level=warning

test: build build-tests ## run every test, a real browser's included
	@node build/test/support/install.js
	node --test --test-timeout=300000 --test-reporter=spec $$(find build/test -name '*.test.js')

build-tests: node_modules
	@$(bin)/tsc -p test/tsconfig.json

check: node_modules ## what CI runs: format, lint, types, tests
	$(bin)/biome check --error-on-warnings
	$(MAKE) --no-print-directory test

bench: build build-tests ## measure, side by side with net, ws and uWebSockets.js (ROUNDS=3)
	node build/test/bench/bench.js --rounds $(ROUNDS)

fuzz: build-tests ## random and mutated sessions for SECONDS=600; prints its seed (SEED=n repeats one)
	node build/test/fuzz/fuzz.js --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

kill: build build-tests ## kill -9 the chat under load, TIMES=100, and look what the histories have
	node build/test/chat/killNine.js --times $(TIMES)

format: node_modules ## put every file into its form
	$(bin)/biome check --write

clean: ## remove what was built and installed
	rm -rf dist build .cache node_modules

node_modules: package.json package-lock.json
	@npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch node_modules

.PHONY: help serve build build-tests test check bench fuzz kill format clean
