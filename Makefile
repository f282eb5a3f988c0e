# Pollywog. `make help` lists the targets. npm's scripts call make, too.
.DEFAULT_GOAL := help
PORT ?= 8080
HOST ?= 127.0.0.1
ROUNDS ?= 3
SECONDS ?= 600
TIMES ?= 100
PREFIX ?= /usr/local
NODES ?= 20 22 24 26
FOLDERS ?=
bin := node_modules/.bin
# The folders of `make install`; DESTDIR is for packagers.
into = $(DESTDIR)$(PREFIX)
man = $(into)/share/man
units = $(into)/lib/systemd/system

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 25

serve: build ## install, build, and run the server on PORT=8080 of HOST=127.0.0.1
	node dist/server.js --host $(HOST) -p $(PORT)

build: node_modules ## compile src/ into dist/
	@$(bin)/tsc -p tsconfig.json
	@$(bin)/tsc -p src/testing
	@cp src/explain/ledger.json dist/explain/
	@rm -rf dist/manual/*.md dist/manual/tour && cp -R src/manual/*.md src/manual/*.json src/manual/tour dist/manual/
	@$(bin)/tsc -p src/web/page
	@rm -rf dist/web/page && mkdir -p dist/web/page && cp src/web/page/*.html dist/web/page/
	@$(bin)/esbuild src/web/page/chat.ts src/web/page/channel.ts src/web/page/*.css --bundle --minify --format=esm --target=es2022 \
		--outdir=dist/web/page --log-level=warning
	@$(bin)/tsc -p src/web/inspector
	@rm -rf dist/web/inspector && mkdir -p dist/web/inspector
	@sed 's/^ *//' src/web/inspector/index.html > dist/web/inspector/index.html
	@$(bin)/esbuild src/web/inspector/inspector.ts src/web/inspector/inspector.css --bundle --minify --format=esm --target=es2022 \
		--outdir=dist/web/inspector --log-level=warning
	@rm -rf dist/web/library && $(bin)/tsc -p src/web/library
	@cd dist/web/library && rm records.d.ts transports.d.ts feed.d.ts
	@$(bin)/esbuild src/web/library/pollywog.ts --bundle --minify --format=esm --target=es2022 \
		--outdir=dist/web/library --log-level=warning

test: build build-tests ## run every test, those in a real browser included
	@node build/test/support/install.js
	node --test --test-timeout=300000 --test-concurrency=3 --test-reporter=spec $$(find build/test -name '*.test.js')

test-nodes: build build-tests ## run the tests on NODES="20 22 24 26", or those in FOLDERS="core wires" of test/
	@node build/test/support/install.js
	@node build/test/support/nodes.js --nodes "$(NODES)" $(FOLDERS)

test-nodes-core: FOLDERS = protocol conformance core wires
# `make test` runs them on the installed Node.
test-nodes-core: NODES = $(filter-out $(shell node -p 'process.versions.node.split(".")[0]'),20 26)
test-nodes-core: test-nodes ## the fast core of the tests, on the oldest Node and the newest, except the installed one

build-tests: node_modules
	@$(bin)/tsc -p test/tsconfig.json
	@cp package.json build/
	@mkdir -p build/src/web/inspector
	@cp src/explain/ledger.json build/src/explain/
	@rm -rf build/src/manual/*.md build/src/manual/tour && cp -R src/manual/*.md src/manual/tour build/src/manual/

lint: node_modules ## check the format of every file, and lint it
	$(bin)/biome check --error-on-warnings

check: lint test ## format, lint, types, tests; CI also runs test-nodes-core

bench: build build-tests ## measure Pollywog, net, ws, uWebSockets.js and, for channels, nchan side by side (ROUNDS=3)
	node build/test/bench/bench.js --rounds $(ROUNDS)

bench-publish: build build-tests ## measure the CPU time of a publish over HTTP (ROUNDS=3)
	node build/test/bench/publish.js --rounds $(ROUNDS)

bench-spool: build build-tests ## measure how a thousand spool files slow down an echo (ROUNDS=3)
	node build/test/bench/spool.js --rounds $(ROUNDS)

bench-against: ROUNDS = 11
bench-against: build build-tests ## compare with another build of Pollywog, in BASE=FOLDER (ROUNDS=11)
	node build/test/bench/bench.js --against $(BASE) --rounds $(ROUNDS) --seconds 1

count-echo: build build-tests ## print the functions that one echo of 32 bytes passes through
	node build/test/bench/echoPath.js

drivers: build build-tests ## run the 517 classic cases with drivers for ws, Python's websockets and our client, or CLIENT=ws
	node build/test/handlers/conformance/allCases.js $(CLIENT)

fuzz: build-tests ## run random and mutated sessions for SECONDS=600; SEED=n repeats a run
	node build/test/fuzz/fuzz.js --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

.PHONY: ledger ledger-proof
ledger: build-tests ## compare the rules of RFC 6455 with the markers beside the code; write src/manual/rfc6455.md and explain/ledger.json
	@node build/test/ledger/ledger.js

ledger-proof: build build-tests ## break each marked check, and require that its test fails; ONLY=5.1-2 or ONLY=FOLDER for some
	@node build/test/ledger/ledgerProof.js $(if $(ONLY),--only $(ONLY))

.PHONY: tour exercise
tour: build-tests ## write the code of src/ that the chapters of the course show into src/manual/tour/
	@node build/test/manual/writeTour.js

# `make exercise 4`: the number is a goal, too.
exercise_number := $(filter 1 2 3 4 5 6 7 8,$(MAKECMDGOALS))
exercise: build build-tests ## check your solution of an exercise of the course: `make exercise 1` to 8
	@node build/test/manual/exercise.js $(exercise_number)
ifneq ($(exercise_number),)
.PHONY: $(exercise_number)
$(exercise_number):
	@:
endif

kill: build build-tests ## kill -9 the chat and channels under load, TIMES=100, and compare the log with what clients got
	node build/test/handlers/chat/killNine.js --times $(TIMES)
	node build/test/handlers/channels/killNine.js --times $(TIMES)

replay: build build-tests ## record an hour of chat, sped up, and replay it against the same build and a changed one; SEED=n
	$(if $(SEED),SEED=$(SEED)) node build/test/recordings/chatReplay.js

storm: build build-tests ## reconnect 5,000 clients of 300 users after a restart, and count the requests to --auth-url
	node build/test/access/storm.js

scale: build build-tests ## measure 10,000 channels, 10,000 subscribers of one channel, and 50 stalled ones of 1,000
	node build/test/handlers/channels/scale.js

model: build-tests ## compare channels with a model, across restarts, for SECONDS=600; SEED=n repeats a run
	SECONDS=$(SECONDS) $(if $(SEED),SEED=$(SEED)) node --test build/test/wires/channels/model.test.js

swaps: TIMES = 200
swaps: build build-tests ## swap a module TIMES=200 times under 1,000 clients, every tenth version broken
	node build/test/handlers/modules/swarm.js --times $(TIMES)

conformance: build build-tests ## run all conformance cases against this server, and most against ws, Python's websockets and websocketd
	node build/test/conformance/peers.js

planted: build build-tests ## plant bugs in copies of the server, and find each by a conformance case
	node build/test/conformance/planted.js

examples: build build-tests ## run the recipes of the manual page testing with Vitest, Jest, Playwright, pytest and Go
	node build/test/manual/recipes.js

soak: build build-tests ## run all kinds of clients, swaps and floods against one server for SECONDS=600
	node build/test/soak/soak.js --seconds $(SECONDS)

strangers: build build-tests ## let 2,000 strangers hoard memory, and one address open 50,000 connections
	node build/test/hostile/strangers.js

screenshot: build build-tests ## take the README's pictures, src/manual/chat.png and src/manual/inspector.png
	node build/test/browser/screenshot.js

manuals: build
	@rm -rf dist/man
	@node dist/install/manPages.js dist/man

install: uninstall manuals ## install programs, man pages and systemd units under PREFIX=/usr/local
	@install -d $(into)/bin $(into)/lib/pollywog/node_modules $(man)/man1 $(man)/man5 $(man)/man7 $(units)
	@cp -R dist package.json LICENSE $(into)/lib/pollywog/
	@rm -rf $(into)/lib/pollywog/dist/man $(into)/lib/pollywog/dist/install
	@cp -R node_modules/minimist $(into)/lib/pollywog/node_modules/
	@chmod -R u+w,go-w,a+rX $(into)/lib/pollywog
	@chmod 755 $(into)/lib/pollywog/dist/server.js $(into)/lib/pollywog/dist/client.js
	@ln -s ../lib/pollywog/dist/server.js $(into)/bin/pollywog
	@ln -s ../lib/pollywog/dist/client.js $(into)/bin/pollywog-client
	@install -m 644 dist/man/*.1 $(man)/man1/
	@install -m 644 dist/man/*.5 $(man)/man5/
	@install -m 644 dist/man/*.7 $(man)/man7/
	@sed 's|@PREFIX@|$(PREFIX)|' src/install/pollywog.service > $(units)/pollywog.service
	@install -m 644 src/install/pollywog.socket $(units)/
	@chmod 644 $(units)/pollywog.service

uninstall: ## remove everything that `make install` installed
	@rm -rf $(into)/lib/pollywog
	@rm -f $(into)/bin/pollywog $(into)/bin/pollywog-client
	@rm -f $(man)/man1/pollywog.1 $(man)/man1/pollywog-client.1 $(man)/man5/pollywog.json.5
	@rm -f $(man)/man7/pollywog-*.7
	@rm -f $(units)/pollywog.service $(units)/pollywog.socket

format: node_modules ## format every file
	$(bin)/biome check --write

clean: ## remove everything that was built, and node_modules
	rm -rf dist build .cache node_modules

node_modules: package.json package-lock.json
	@npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch node_modules

.PHONY: help serve build build-tests drivers test test-nodes test-nodes-core lint check bench bench-publish bench-spool bench-against count-echo fuzz kill model replay storm scale swaps examples planted soak strangers screenshot manuals install uninstall format clean
