# `make help` says what there is. SEED=… repeats a randomised test that printed its seed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Only simulations are built with this flag: turmoil seeds tokio's own choices under it.
# A folder of their own, so that the two builds do not throw each other's work away.
SIM_RUSTFLAGS := --cfg tokio_unstable
SIM_TARGET := $(or $(CARGO_TARGET_DIR),target)/sim
# Simulations are the test targets named `sim`; only their own packages are built so.
SIMS := $(patsubst crates/%/tests/sim.rs,-p busway-%,$(wildcard crates/*/tests/sim.rs))

export SEED

# Most tests wait for servers and clocks, not for a processor.
export RUST_TEST_THREADS ?= 4

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: quickstart
quickstart: ## a channel and three subscriptions on this machine; ONCE=1 ends by itself
	cargo build --release --bin busway
	$(or $(CARGO_TARGET_DIR),target)/release/busway dev examples/quickstart $(if $(ONCE),--once)

.PHONY: tools
tools: ## build the pinned tools that tests and checks run, once, into a cache outside the checkout
	hack/tools.sh

.PHONY: test
test: ## every test that needs no root; the last line is the sum
	hack/tools.sh etcd kubernetes kubernetes-1.33 helm cesql-tck
	hack/sum-tests.sh "cargo test --workspace --no-fail-fast" \
		$(if $(SIMS),"RUSTFLAGS='$(SIM_RUSTFLAGS)' CARGO_TARGET_DIR='$(SIM_TARGET)' cargo test $(SIMS) --no-fail-fast --test sim")

.PHONY: soak
soak: ## simulate fresh random seeds: SECONDS_=600 for so long, SEEDS=n for so many; the last line is the sum
	hack/soak.sh

.PHONY: plants
plants: ## plant ten bugs into the data plane, one at a time: the simulation has to find each
	hack/plants.sh

.PHONY: check
check: ## format, lints, licenses and sources of dependencies, generated files; helm lint, and every manifest to a real API server
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p busway --test e2e -- -D warnings
	"$$(hack/tools.sh cargo-deny)/cargo-deny" --workspace check bans licenses sources
	hack/tools.sh etcd kubernetes helm >/dev/null
	hack/generate.sh --check
	@# A test that was renamed would be found by no name, and pass: all three are to be there.
	cargo test -p busway --test chart -- helm_lint_finds_nothing the_api_server_takes_every_manifest_as_it_is \
		a_misspelt_field_would_be_found | tee /dev/stderr | grep -q '^test result: ok\. 3 passed'

.PHONY: generate
generate: ## write crds/, deploy/crds.yaml and the generated tables in docs/ anew
	hack/generate.sh

.PHONY: bench
bench: ## the bare loop and Busway side by side, then 10,000 Subscriptions; ARGS=--quick tries it, WRITE=1 keeps the tables
	hack/tools.sh etcd kubernetes
	cargo build --release -p busway -p busway-benches
	$(or $(CARGO_TARGET_DIR),target)/release/busway-benches all $(if $(WRITE),--write docs/benchmarks.md) $(ARGS)

.PHONY: fuzz
fuzz: ## look for inputs that break what reads them; SECONDS_EACH=60 per target, TARGETS="cesql events", KEEP=1 keeps what reaches more
	hack/fuzz.sh $(TARGETS)

.PHONY: cluster
cluster: ## a real Kubernetes of one node on this machine, without a container engine (root); hack/cluster.sh run kubectl …
	hack/cluster.sh up

.PHONY: cluster-down
cluster-down: ## end it, leave nothing behind
	hack/cluster.sh down

.PHONY: image
image: ## the image as an OCI tar, without a container engine
	hack/image.sh

.PHONY: e2e
e2e: ## end-to-end tests on a cluster of their own (root), or on the one of KUBECONFIG; the last line is the sum
	hack/e2e.sh

.PHONY: clean
clean: ## remove what was built here; the cache of tools stays
	cargo clean
