#!/usr/bin/env bash
# End-to-end tests: a cluster of their own, our image in it, the scenarios of tests/e2e, and all gone again.
#   hack/e2e.sh [ARGS]     ARGS go to the tests: `--list`, or part of a scenario's name
# With KUBECONFIG set they run on that cluster, whose nodes must have the four images (docs/testing.md), named by
#   BUSWAY_IMAGE, TRAFFIC_IMAGE, THIRD_PARTY_IMAGE  (default: busway.test/busway:e2e, …/traffic:e2e, …/third-party-bus:e2e)
#   PREVIOUS_IMAGE  (default: busway.test/busway:previous; hack/previous.sh says what it is)
# From the environment: PROFILE of the images' binaries (default: quick), KEEP=1 leaves the cluster for a look.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

export CLUSTER=${CLUSTER:-e2e-$$} PROFILE=${PROFILE:-quick}
export BUSWAY_IMAGE=${BUSWAY_IMAGE:-busway.test/busway:e2e} TRAFFIC_IMAGE=${TRAFFIC_IMAGE:-busway.test/traffic:e2e}
export THIRD_PARTY_IMAGE=${THIRD_PARTY_IMAGE:-busway.test/third-party-bus:e2e}
export PREVIOUS_IMAGE=${PREVIOUS_IMAGE:-busway.test/busway:previous}
images=target/image/e2e

hack/tools.sh kubernetes helm >/dev/null
test=(cargo test --locked --package busway --test e2e)
if [ -n "${KUBECONFIG:-}" ]; then
  PREVIOUS=$(hack/previous.sh --chart)
  export PREVIOUS
  exec hack/sum-tests.sh --without-coverage "${test[*]} -- $*"
fi

[ "$(id -u)" = 0 ] || { echo "e2e: needs root for a cluster of its own, or KUBECONFIG for another; see docs/testing.md" >&2; exit 1; }
IMAGE=$BUSWAY_IMAGE OUT=$images/busway.tar hack/image.sh
IMAGE=$TRAFFIC_IMAGE OUT=$images/traffic.tar hack/image.sh plain busway-traffic traffic
IMAGE=$THIRD_PARTY_IMAGE OUT=$images/third-party-bus.tar hack/image.sh plain third-party-bus third-party-bus
# After ours: it takes over what they have built. Under its own name, whatever the tests are told.
PREVIOUS=$(hack/previous.sh)
PREVIOUS_IMAGE=busway.test/busway:previous
export PREVIOUS
"${test[@]}" --no-run

# The logs of runs that ended are kept until the next.
for old in target/cluster/e2e-*; do
  pid=${old##*-}
  [[ ! $pid =~ ^[0-9]+$ ]] || kill -0 "$pid" 2>/dev/null || rm -rf "$old" "$old.lock"
done

# However this ends, the cluster goes with it; the trap is quicker than the leash.
if [ -n "${KEEP:-}" ]; then
  hack/cluster.sh up --audit
else
  trap 'hack/cluster.sh down' EXIT
  hack/cluster.sh up --audit --while $$
fi
hack/cluster.sh load $images/{busway,traffic,third-party-bus}.tar "$PREVIOUS/image.tar"
export BUSWAY_AUDIT_LOG=$PWD/target/cluster/$CLUSTER/audit.log
# There is no network beyond the cluster's where the tests run.
hack/sum-tests.sh --without-coverage "hack/cluster.sh run ${test[*]} --offline -- $*"
