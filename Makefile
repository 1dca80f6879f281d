# The two commands of the README are `make serve` and `make test`; the others are for those who work on the project.

CARGO ?= cargo
# Everything is built in one profile, so that llama.cpp's C++ is compiled once for the product, its tests and clippy.
PROFILE := --release --locked

.PHONY: serve test build setup lint smoke clients clean

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

URL ?= http://127.0.0.1:11434

clients:                ## Run Ollama's own Python and JavaScript clients against a running server (URL=...)
	python3 -m venv .tools/clients
	.tools/clients/bin/pip install --quiet --requirement server/tests/clients/requirements.txt
	.tools/clients/bin/python server/tests/clients/check.py $(URL)
	npm --prefix server/tests/clients ci --silent
	node server/tests/clients/check.mjs $(URL)

clean:
	$(CARGO) clean
