#!/usr/bin/env bash
# Builds the tools of hack/tools.versions, once, into a cache outside the checkout.
#   hack/tools.sh [TOOL…]     build what is missing (all tools, or these), print the folder
#   hack/tools.sh --print-dir  print the folder, build nothing
# The folder is ${BUSWAY_TOOLS:-~/.cache/busway}/<hash of the pinned versions>. A binary that KUBEBUILDER_ASSETS has is not built.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=${BUSWAY_TOOLS:-${HOME:?set HOME or BUSWAY_TOOLS}/.cache/busway}
PINS=$(sed -e 's/#.*//' "$HERE/tools.versions" | awk 'NF == 2 {print $1, $2}' | sort)
DIR=$ROOT/$(sha256sum <<<"$PINS" | cut -c1-12)

# ---- the tools: which binaries each one is, and how it is built into $WORK/bin -------------------------------------

binaries() {
  case $1 in
    etcd) echo etcd ;;
    kubernetes) echo kube-apiserver kube-controller-manager kubectl ;;
    kubernetes-node) echo kube-scheduler kubelet kube-proxy ;;
    kubernetes-1.33) echo kube-apiserver-1.33 ;;
    containerd) echo containerd containerd-shim-runc-v2 ctr ;;
    coredns) echo coredns ;;
    helm) echo helm ;;
    cargo-deny) echo cargo-deny ;;
    cesql-tck) echo cesql-tck ;;
    *) fail "unknown tool '$1'; hack/tools.versions has: $(names)" ;;
  esac
}

build_etcd() { go_tool etcd go.etcd.io/etcd/server/v3; }
build_coredns() { go_tool coredns github.com/coredns/coredns; }

# Without these flags helm takes every cluster for Kubernetes 1.20, which our chart refuses: `helm template` and `helm
# lint` would want --kube-version. Of the Kubernetes that helm talks to in tests.
build_helm() {
  local minor package flags=
  minor=$(awk '$1 == "kubernetes" {print $2}' <<<"$PINS" | cut -d. -f2)
  for package in chartutil lint/rules; do
    flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$minor"
  done
  go_tool helm helm.sh/helm/v3/cmd/helm "$flags"
}

# Without the snapshotters that want a file system of their own: the test bed uses overlayfs.
build_containerd() {
  local version=$1 module=github.com/containerd/containerd/v2 binary packages=()
  shift
  for binary in "$@"; do packages+=("$module/cmd/$binary"); done
  go_module containerd
  for binary in "${packages[@]}"; do go get -tool "$binary@$version"; done
  go build -trimpath -tags "no_btrfs no_zfs no_devmapper no_aufs" -ldflags "-s -w -X $module/version.Version=${version#v}" \
    -o "$WORK/bin/" "${packages[@]}"
}

# k8s.io/kubernetes requires its staging modules at v0.0.0 and replaces them by folders of its repository, which its
# module does not carry: replace them by their releases. Without the version flags `kubectl version` fails.
build_kubernetes() {
  local version=$1 minor staged client=k8s.io/client-go/pkg/version base=k8s.io/component-base/version flags="-s -w" package packages=()
  minor=$(cut -d. -f2 <<<"$version")
  shift
  for package in "$@"; do packages+=("k8s.io/kubernetes/cmd/$package"); done
  go_module kubernetes
  staged=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p' \
    | xargs sed -n 's#^[[:space:]]*\(k8s.io/[^ ]*\) => ./staging.*#\1#p')
  {
    echo "require k8s.io/kubernetes $version"
    printf 'tool %s\n' "${packages[@]}"
    for module in $staged; do echo "replace $module => $module v0.${version#v1.}"; done
  } >>go.mod
  go mod tidy
  for package in $base $client; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
  done
  go build -trimpath -ldflags "$flags" -o "$WORK/bin/" "${packages[@]}"
}

build_kubernetes-node() { build_kubernetes "$@"; }

build_kubernetes-1.33() {
  build_kubernetes "$1" kube-apiserver
  mv "$WORK/bin/kube-apiserver" "$WORK/bin/kube-apiserver-1.33"
}

build_cargo-deny() {
  need cargo "the Rust toolchain of rust-toolchain.toml, through rustup"
  cd "$HERE"
  # Its own release profile optimises across crates for minutes; a check that runs for seconds needs none of it.
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_TARGET_DIR=$WORK/target cargo install --locked --quiet --version "$1" --root "$WORK" cargo-deny
}

# Not a binary but a folder: the cases of the conformance kit for CloudEvents SQL, one YAML file a topic.
build_cesql-tck() {
  local kit
  go_module cesql-tck
  kit=$(go mod download -json "github.com/cloudevents/sdk-go/sql/v2@$1" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p')/test/tck
  mkdir "$WORK/bin/cesql-tck"
  install -m 644 "$kit"/*.yaml "$WORK/bin/cesql-tck/"
}

# ---- how a Go tool is built: in a module of its own, so that dependencies of two tools never meet ------------------

go_module() {
  need go "Go 1.26 or newer"
  mkdir -p "$WORK/src/$1"
  cd "$WORK/src/$1"
  printf 'module busway.test/tools/%s\n\ngo 1.26.0\n\n' "$1" >go.mod
}

# go_tool BINARY PACKAGE [LDFLAGS], at the version of the tool that is being built.
go_tool() {
  go_module "$1"
  go get -tool "$2@$VERSION"
  go build -trimpath -ldflags "-s -w${3:-}" -o "$WORK/bin/$1" "$2"
}

# ---- the frame ------------------------------------------------------------------------------------------------------

fail() { echo "tools: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "'$1' is not installed; install $2, then run \`make tools\` again"; }
names() { awk '{printf "%s%s", sep, $1; sep = " "}' <<<"$PINS"; }
here() { [ -x "$DIR/$1" ] || [ -x "${KUBEBUILDER_ASSETS:-/nonexistent}/$1" ]; }
missing() { local binary; for binary in $(binaries "$1"); do here "$binary" || echo "$binary"; done; }

# Links what another folder of the cache has at the same version.
take_over() {
  local pin=$1 binary=$2 other
  for other in "$ROOT"/*/; do
    [ -x "$other$binary" ] && grep -qxF "$pin" "$other/.pins" 2>/dev/null && cp -alT "$other$binary" "$DIR/$binary" && return
  done
  return 0
}

# Builds one tool, if any of its binaries is missing. They appear in $DIR whole or not at all.
provide() {
  local name=$1 binary log=$DIR/log/$1.log
  VERSION=$(awk -v name="$name" '$1 == name {print $2}' <<<"$PINS")
  [ -n "$VERSION" ] || fail "no version of '$name' in hack/tools.versions"
  for binary in $(missing "$name"); do take_over "$name $VERSION" "$binary"; done
  [ -n "$(missing "$name")" ] || return 0
  echo "tools: building $name $VERSION (log: $log)" >&2
  # A job and `wait`, because `set -e` does not hold in a command whose result is tested.
  ( set -e; "build_$name" "$VERSION" $(missing "$name") ) >"$log" 2>&1 </dev/null &
  if ! wait $!; then
    tail -n 20 "$log" >&2
    fail "building $name $VERSION failed; the whole log is $log"
  fi
  for binary in $(missing "$name"); do mv "$WORK/bin/$binary" "$DIR/$binary"; done
  rm -rf "$WORK/src" "$WORK/target"
}

if [ "${1:-}" = --print-dir ]; then echo "$DIR"; exit; fi
[ $# -gt 0 ] || set -- $(names)

lacking=
for name in "$@"; do
  binaries "$name" >/dev/null
  lacking+=$(missing "$name")
done
if [ -n "$lacking" ]; then
  need flock "util-linux"
  mkdir -p "$DIR/log"
  exec 9>"$ROOT/.lock"
  flock -n 9 || { echo "tools: another run builds; waiting for it" >&2; flock 9; }
  echo "$PINS" >"$DIR/.pins"
  WORK=$(mktemp -d "$ROOT/.work.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  mkdir -p "$WORK/bin"
  export CGO_ENABLED=0 GOWORK=off
  for name in "$@"; do provide "$name"; done
fi
echo "$DIR"
