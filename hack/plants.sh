#!/usr/bin/env bash
# Shows that the simulation finds each planted bug (crates/dataplane/src/plant.rs) within the seeds of `make test`, by
# which seed, and how.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RUSTFLAGS='--cfg tokio_unstable --cfg busway_plant' CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/sim"
unset SEED
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test -p busway-dataplane --test sim planted >"$log" 2>&1 || { cat "$log"; exit 1; }
grep '^planted ' "$log" | sort -k2
bugs=$(grep -c '^        Self::' <(sed -n '/pub const ALL/,/];/p' crates/dataplane/src/plant.rs))
found=$(grep -c '^planted .* found by seed' "$log")
echo "$found of $bugs planted bugs found"
[ "$found" -eq "$bugs" ]
