# The two commands of the README are `make serve` and `make test`; the others are for those who work on the project.

CARGO ?= cargo
# Everything is built in one profile, so that llama.cpp's C++ is compiled once for the product, its tests and clippy.
PROFILE := --release --locked

.PHONY: serve test build setup lint smoke clients agents differential registry-check templates deny fuzz fuzz-api torture page-check ui-check client-limit clean loadgen-proof observe bench dashboards-check replicas-check manifests-check compose-check dist archive-check service-check sizing vulkan-check

serve: build            ## Set up, build and start the server on 127.0.0.1:11434
	target/release/chaski serve

test: setup             ## Set up, build and run every test
	$(CARGO) test $(PROFILE) --workspace

build: setup
	$(CARGO) build $(PROFILE) --workspace

setup:                  ## Fetch the pinned build tools and ONNX Runtime into .tools/
	@python3 deploy/toolchain/setup.py

lint: setup             ## Formatting and clippy, warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PROFILE) --workspace --all-targets -- -D warnings

smoke: build            ## Start the server, ask it, measure it with loadgen, stop it
	.ci/smoke

loadgen-proof:          ## Count how often loadgen is right about servers whose truth is known (minutes, a quiet machine)
	$(CARGO) test $(PROFILE) -p loadgen --test it proof:: -- --ignored --nocapture --test-threads 1

URL ?= http://127.0.0.1:11434

clients:                ## Run the client libraries and programs of others against a running server (URL=...)
	python3 -m venv .tools/clients
	.tools/clients/bin/pip install --quiet --requirement server/tests/clients/requirements.txt
	npm --prefix server/tests/clients/javascript ci --silent
	CARGO_TARGET_DIR=.tools/clients/rust $(CARGO) build --quiet --locked --manifest-path server/tests/clients/rust/Cargo.toml
	.tools/clients/bin/python server/tests/clients/run.py $(URL)

agents:                 ## The same, with agents among the clients, which take 2 GB of disk
	mkdir -p .tools/agents
	cp server/tests/clients/agents/package.json server/tests/clients/agents/package-lock.json .tools/agents
	npm --prefix .tools/agents install --silent
	python3 -m venv .tools/agents/aider
	.tools/agents/aider/bin/pip install --quiet --requirement server/tests/clients/agents/requirements.txt
	$(MAKE) clients URL=$(URL)

OLLAMA ?= http://127.0.0.1:11435

differential:           ## Ask a running Ollama and a running Chaski the same and compare (OLLAMA=... URL=... EMBEDDER=...)
	python3 server/tests/differential compare $(OLLAMA) $(URL) --embedder $(EMBEDDER)

KILLS ?= 20

registry-check: build   ## Pull and push against Debian's docker-registry, and a pull whose server is killed KILLS times
	@command -v docker-registry >/dev/null || apt-get install --yes --no-install-recommends docker-registry
	python3 server/tests/registry/check.py target/release/chaski --kills $(KILLS) $(if $(OLLAMA),--ollama $(OLLAMA))

templates: setup        ## Render a folder of chat templates here and in Python's jinja2 and compare (FOLDER=...)
	python3 -m venv .tools/templates
	.tools/templates/bin/pip install --quiet --constraint models/requirements.txt jinja2
	.tools/templates/bin/python server/tests/prompt/golden.py $(abspath $(FOLDER))
	CHASKI_TEMPLATES=$(abspath $(FOLDER)) $(CARGO) test $(PROFILE) --workspace --lib other_templates -- --ignored --nocapture

fuzz-api:               ## Send what an OpenAPI document allows, and what it does not, to a running server (URL=... SPEC=...)
	python3 -m venv .tools/fuzz
	.tools/fuzz/bin/pip install --quiet --requirement server/tests/openapi/requirements.txt
	cd server/tests && SCHEMATHESIS_HOOKS=openapi.hooks $(CURDIR)/.tools/fuzz/bin/schemathesis run $(abspath $(SPEC)) --url $(URL) \
	  --checks not_a_server_error,response_schema_conformance,content_type_conformance,every_line_is_an_object \
	  --exclude-path-regex 'pull|push|transcriptions' --phases examples,coverage,fuzzing --continue-on-failure

TARGETS ?= $(sort $(notdir $(basename $(wildcard server/fuzz/fuzz_targets/*.rs))))
SECONDS ?= 60

fuzz: setup             ## Any bytes for every reader of what strangers send (SECONDS= for each, TARGETS="gguf onnx"): server/fuzz/README.md
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked --version 0.13.2 cargo-fuzz
	@test -f server/fuzz/Cargo.lock || cp Cargo.lock server/fuzz/
	cd server && for target in $(TARGETS); do mkdir -p fuzz/target/corpus/$$target && $(CARGO) fuzz run --sanitizer none $$target \
	  fuzz/target/corpus/$$target fuzz/corpus/$$target -- -max_total_time=$(SECONDS) -timeout=20 || exit 1; done

deny:                   ## Advisories, licences and sources of all dependencies: deny.toml
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --version 0.20.2 cargo-deny
	$(CARGO) deny --locked check

BUDGET ?= 0
SEED ?= 1
MINUTES ?= 60

torture: build          ## Attack a server in every way of docs/RELIABILITY.md (BUDGET=seconds, 0 until all is tried; SEED=..., ONLY="kills ...", MINUTES= of the soak)
	python3 server/tests/torture target/release/chaski --loadgen target/release/loadgen --budget $(BUDGET) --seed $(SEED) --minutes $(MINUTES) $(ONLY:%=--only %)

page-check:             ## Open pages of `loadgen --html` in a headless Chromium and fail on what a reader would meet (PAGES="a.html b.html")
	@command -v chromium >/dev/null || apt-get install --yes --no-install-recommends chromium
	npm --prefix loadgen/tests/page ci --silent
	node loadgen/tests/page/check.mjs $(abspath $(PAGES))

observe: build          ## A real Prometheus on real traffic: does every panel, rule and alert have something to show? (KEEP=1 to look at it)
	@command -v prometheus >/dev/null || apt-get install --yes --no-install-recommends prometheus
	python3 deploy/checks/observe.py target/release/chaski target/release/loadgen $(if $(KEEP),--keep)

sizing: build           ## What a replica costs on this machine, and what a second one brings, and then what routing does to a thousand (MODELS=folder GENERATE=name EMBED=name)
	python3 deploy/checks/sizing.py target/release/chaski --speeds target/speeds.json $(MODELS:%=--models %) $(GENERATE:%=--generate %) $(EMBED:%=--embed %)
	python3 deploy/checks/routing.py --speeds target/speeds.json

replicas-check: build   ## HAProxy before three replicas: affinity, one killed under load, a rolling restart
	@command -v haproxy >/dev/null || apt-get install --yes --no-install-recommends haproxy
	python3 deploy/checks/replicas.py target/release/chaski

manifests-check:        ## Compare the Kubernetes manifests with the API server's schemas (CRDS="..." for those of KEDA and the Gateway API)
	python3 -m venv .tools/manifests
	.tools/manifests/bin/pip install --quiet --requirement deploy/checks/requirements.txt
	.tools/manifests/bin/python deploy/checks/manifests.py $(CRDS)

dist: setup             ## The release archive for other machines, in target/dist/ (compiles llama.cpp once more, for every kind of processor)
	python3 deploy/dist.py

archive-check:          ## Run the release archive here and as processors of 2006 to 2013, by Debian's qemu (ARCHIVE=...)
	@command -v qemu-x86_64 >/dev/null || apt-get install --yes --no-install-recommends qemu-user
	python3 deploy/checks/archive.py $(or $(ARCHIVE),$(wildcard target/dist/chaski-*-x86_64-linux.tar.gz))

vulkan-check: setup      ## Build for Vulkan in a folder of its own and have a locked-in worker compute there (needs Vulkan's headers, glslc and a driver, such as Mesa's lavapipe)
	CARGO_TARGET_DIR=target/vulkan $(CARGO) build $(PROFILE) -p chaski --features chaski/vulkan
	python3 deploy/checks/devices.py target/vulkan/release/chaski

compose-check:          ## Read compose.yaml as Compose does, and look at what each profile starts (needs Go)
	python3 deploy/checks/compose.py

service-check:          ## What the systemd unit leaves open, by systemd's own scale (10 is everything, 2.0 is the most that passes)
	systemd-analyze security --no-pager --offline=true --threshold=20 deploy/systemd/chaski.service | tail -1

DASHBOARD_LINTER ?= go run github.com/grafana/dashboard-linter@4d0844b

dashboards-check:       ## Compare the dashboards with Grafana's own types and its linter's rules
	python3 dashboards/generate.py --check
	npm --prefix dashboards/schema ci --silent
	node dashboards/schema/check.mjs
	for file in dashboards/grafana/dashboards/*.json; do $(DASHBOARD_LINTER) lint --strict $$file || exit 1; done

ui-check: build         ## Use the pages at /ui in a headless Chromium (SHOTS=folder takes pictures)
	@command -v chromium >/dev/null || apt-get install --yes --no-install-recommends chromium
	npm --prefix server/tests/ui ci --silent
	node server/tests/ui/check.mjs $(if $(SHOTS),--shots $(abspath $(SHOTS))) target/release/chaski

OURS ?= $(URL)
BENCH ?= decode streams prefill shared-prefix conversations beside
ROUNDS ?= 6
RESULTS ?= target/bench
COMMA := ,

bench: setup            ## Measure a running Chaski beside running peers, in turns (MODEL=..., OURS=..., OLLAMA=... and LLAMA=..., BENCH="decode ...", ROUNDS=..., RESULTS=folder)
	@test -n "$(MODEL)" || { echo "MODEL=NAME is missing: a model that all servers have under this name"; exit 2; }
	$(CARGO) build $(PROFILE) -p loadgen
	mkdir -p $(RESULTS)
	@failed=0; for workload in $(BENCH); do for peer in $(if $(OLLAMA),ollama=$(OLLAMA)) $(if $(LLAMA),llama-server=$(LLAMA)$(COMMA)api=openai); do \
	  result=$(RESULTS)/$(subst /,-,$(MODEL))-$$workload-$${peer%%=*}; echo; echo "== $$workload, $(MODEL), beside $${peer%%=*}: $$result.json"; \
	  target/release/loadgen run docs/benchmarks/$$workload.toml --target ours=$(OURS) --target $$peer --model generate=$(MODEL) --model chat=$(MODEL) \
	    --rounds $(ROUNDS) --keep-loaded --no-checks --quiet --json $$result.json --raw $$result.jsonl.zst || failed=1; \
	done; done; exit $$failed

MOCK_PORT ?= 20600

client-limit:           ## How many streams per second loadgen can measure on this machine, against its own mock
	$(CARGO) build $(PROFILE) -p loadgen
	target/release/loadgen mock --listen 127.0.0.1:$(MOCK_PORT) --ttft 5ms --itl 1ms & mock=$$!; trap "kill $$mock" EXIT; sleep 1; \
	  target/release/loadgen run loadgen/tests/client-limit.toml --target mock=http://127.0.0.1:$(MOCK_PORT) --seed 1 --json target/client-limit.json

clean:
	$(CARGO) clean
