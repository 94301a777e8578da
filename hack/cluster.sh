#!/usr/bin/env bash
# A real Kubernetes of one node, for tests: started in seconds, without a container engine or a registry, gone without a trace.
#   hack/cluster.sh up [--audit] [--while PID]   start it and wait until its node is ready; does nothing when it is up
#   hack/cluster.sh load TAR…                    make an image of an OCI tar known to it
#   hack/cluster.sh run COMMAND…                 run a command in its network: kubectl, helm, curl, a test
#   hack/cluster.sh down                         end it
# CLUSTER names it (default: busway); several of different names live side by side. Needs root; docs/testing.md says more.
#   --audit      the API server writes what it was asked to audit.log, in the folder of the logs
#   --while PID  it goes down when that process ends, however it ends
#
# It lives in a network, a mount and a process namespace of its own, whose first process is hack/cluster/node.sh. The kernel
# ends everything in it with that process: daemons, shims, containers, mounts, links. There is no route out.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NAME=${CLUSTER:-busway}
DIR=${BUSWAY_CLUSTERS:-/var/tmp/busway-clusters}/$NAME
LOGS=$(dirname "$HERE")/target/cluster/$NAME
READY_WITHIN=${READY_WITHIN:-120} # seconds; it takes 5 on two idle cores

fail() { echo "cluster $NAME: $*" >&2; exit 1; }

# The process that holds the namespaces: it is ours only if its command line names our folder.
holder() {
  local pid
  pid=$(cat "$DIR/holder.pid" 2>/dev/null) || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "/cluster/node.sh $DIR "; } 2>/dev/null && echo "$pid"
}

locked() {
  mkdir -p "$(dirname "$LOGS")"
  exec 9>"$LOGS.lock"
  flock -w "$READY_WITHIN" 9 || fail "another run is starting or ending it for more than ${READY_WITHIN} s"
}

up() {
  local audit=no leash=
  while [ $# -gt 0 ]; do
    case $1 in
      --audit) audit=yes; shift ;;
      --while) leash=$2; shift 2 ;;
      *) fail "up: unknown option '$1'" ;;
    esac
  done
  [[ $NAME =~ ^[a-z0-9-]{1,40}$ ]] || fail "a name is of a-z, 0-9 and -, at most 40 characters"
  "$HERE/packages.sh"
  TOOLS=$("$HERE/tools.sh" etcd kubernetes kubernetes-node containerd coredns)
  locked
  if [ -e "$DIR/ready" ] && holder >/dev/null; then
    echo "cluster $NAME is up already" >&2
    return
  fi
  clean
  local started=$SECONDS
  rm -rf "$LOGS"
  mkdir -p "$DIR" "$LOGS"
  setsid unshare --net --mount --pid --fork --kill-child --mount-proc \
    "$HERE/cluster/node.sh" "$DIR" "$LOGS" "$NAME" "$audit" "$(tools_path)" >"$LOGS/node.log" 2>&1 </dev/null 9>&- &
  echo $! >"$DIR/holder.pid"
  if [ -n "$leash" ]; then
    setsid "$HERE/cluster.sh" down-after "$leash" "$(cat "$DIR/holder.pid")" >>"$LOGS/node.log" 2>&1 </dev/null 9>&- &
  fi
  while ! [ -e "$DIR/ready" ]; do
    if ! kill -0 "$(cat "$DIR/holder.pid")" 2>/dev/null || [ $((SECONDS - started)) -gt "$READY_WITHIN" ]; then
      tail -n 5 "$LOGS"/*.log >&2
      clean
      fail "did not come up; its logs are in $LOGS"
    fi
    sleep 0.1
  done
  echo "cluster $NAME: node ready after $((SECONDS - started)) s; hack/cluster.sh run kubectl …; logs: $LOGS" >&2
}

tools_path() { echo "${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS:}$TOOLS"; }

# Ends what is there, whole or in pieces. Killing the holder kills the first process, and so all; the rest are folders.
clean() {
  local pid first state
  if pid=$(holder); then
    first=$(cat "/proc/$pid/task/$pid/children")
    kill -KILL "$pid" 2>/dev/null || true
    # The first process is gone, or waits to be collected, once all the others are.
    for first in $first; do
      while state=$(sed 's/.*) //' "/proc/$first/stat" 2>/dev/null) && [[ $state != [ZX]* ]]; do sleep 0.05; done
    done
  fi
  # Control groups outlive their processes. The kernel needs a moment until they are empty.
  local tries=100 group
  for group in $(find /sys/fs/cgroup -maxdepth 2 -type d -name "busway-cluster-$NAME" 2>/dev/null); do
    while [ -d "$group" ] && [ $((tries -= 1)) -gt 0 ]; do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
    [ ! -d "$group" ] || echo "cluster $NAME: $group is still there" >&2
  done
  rm -rf "$DIR"
  rmdir --ignore-fail-on-non-empty "$(dirname "$DIR")" 2>/dev/null || true
}

run() {
  local pid
  pid=$(holder) || fail "is not up: hack/cluster.sh up"
  TOOLS=$("$HERE/tools.sh" --print-dir)
  export KUBECONFIG=$DIR/kubeconfig PATH=$(tools_path):$PATH
  exec nsenter --target "$pid" --net -- "$@"
}

load() {
  local tar
  holder >/dev/null || fail "is not up: hack/cluster.sh up"
  TOOLS=$("$HERE/tools.sh" --print-dir)
  for tar in "$@"; do "$TOOLS/ctr" --address "$DIR/containerd.sock" --namespace k8s.io images import "$tar" >/dev/null; done
}

[ $# -gt 0 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }
command=$1
shift
[ "$(id -u)" = 0 ] || fail "needs root: a network, mounts and containers of its own"
case $command in
  up) up "$@" ;;
  load) load "$@" ;;
  run) run "$@" ;;
  down) locked; clean ;;
  down-after) # PID HOLDER: a cluster that was started since then has another holder, and is left alone
    while kill -0 "$1" 2>/dev/null && [ "$(holder)" = "$2" ]; do sleep 1; done
    locked
    [ "$(holder)" != "$2" ] || clean
    ;;
  *) fail "unknown command '$command'" ;;
esac
