#!/usr/bin/env bash
# The image, without a container engine: the last stage of the Dockerfile, written as an OCI tar.
#   hack/image.sh [write]             build the binary, write the tar, print its size
#   hack/image.sh binary FILE [ARCH]  build the static binary only, to FILE; the Dockerfile calls this
#   hack/image.sh plain PACKAGE NAME  an image with another of the workspace's binaries, for tests
# From the environment:
#   OUT      where the tar goes (default: target/image/busway.tar)
#   IMAGE    the image's name (default: busway:<version of Cargo.toml>)
#   PROFILE  Cargo's profile (default: image; `quick` is built in a third of the time, and larger)
#   BINARY   a file to put in place of the built binary
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PROFILE=${PROFILE:-image}
MAX_SIZE=$((20 * 1000 * 1000)) # bytes of the tar, as it is pulled: what DESIGN promises

fail() { echo "image: $*" >&2; exit 1; }

# binary FILE [ARCH [PACKAGE NAME]]
binary() {
  local triple package=${3:-busway} name=${4:-busway}
  case ${2:-$(uname -m)} in
    x86_64 | amd64) triple=x86_64-unknown-linux-gnu ;;
    aarch64 | arm64) triple=aarch64-unknown-linux-gnu ;;
    *) fail "unknown architecture ${2:-$(uname -m)}" ;;
  esac
  # A folder of its own: other flags than the tests' would build everything anew, back and forth.
  RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --profile "$PROFILE" --target "$triple" \
    --target-dir target/image --package "$package" --bin "$name"
  mkdir -p "$(dirname "$1")"
  cp "target/image/$triple/$PROFILE/$name" "$1"
}

# The instructions of the Dockerfile's last stage, one a line.
last_stage() {
  sed -e 's/^[[:space:]]*#.*//' Dockerfile | sed -e ':a' -e '/\\$/N; s/\\\n//; ta' | awk '
    $1 == "FROM" { stage = "" }
    NF           { stage = stage $0 "\n" }
    END          { printf "%s", stage }'
}

# What the builder is given for an ARG; else the Dockerfile's default holds.
argument() {
  case $1 in
    VERSION) sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1 ;;
    REVISION) git rev-parse HEAD 2>/dev/null || true ;;
  esac
}

# Reads the last stage: files go to $root, the config to $config. What it does not know it refuses.
interpret() {
  local built=$1 word rest name value labels= user= entrypoint=
  local -A args=()
  while read -r word rest; do
    for name in "${!args[@]}"; do rest=${rest//\$$name/${args[$name]}}; done
    case $word in
      FROM) [ "$rest" = scratch ] || fail "Dockerfile: the last stage is FROM scratch, not $rest" ;;
      ARG)
        name=${rest%%=*}
        value=$(argument "$name")
        args[$name]=${value:-${rest#*=}}
        ;;
      LABEL)
        [[ $rest =~ ^([a-z.]+)=\"([^\"\\]*)\"$ ]] || fail "Dockerfile: one LABEL a line, as name=\"value\": $rest"
        labels+="${labels:+,}\"${BASH_REMATCH[1]}\":\"${BASH_REMATCH[2]}\""
        ;;
      COPY)
        [[ $rest =~ ^--from=build\ /out/busway\ (/[a-z]+)$ ]] || fail "Dockerfile: COPY takes /out/busway of the stage build: $rest"
        install -m 755 "$built" "$root${BASH_REMATCH[1]}"
        ;;
      USER) user=$rest ;;
      ENTRYPOINT) entrypoint=$rest ;;
      *) fail "Dockerfile: hack/image.sh does not know $word" ;;
    esac
  done < <(last_stage)
  config="{\"User\":\"$user\",\"Entrypoint\":$entrypoint,\"Labels\":{$labels}}"
}

# The folder for an image's files; sets `work` and `root`.
workroom() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  root=$work/root
  mkdir "$root"
}

write() {
  local root config built=${BINARY:-} out=${OUT:-target/image/busway.tar} image size
  image=${IMAGE:-busway:$(argument VERSION)}
  workroom
  if [ -z "$built" ]; then
    built=$work/busway
    binary "$built"
  fi
  interpret "$built"
  SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} hack/oci.sh "$image" "$root" "$config" "$out"
  size=$(stat -c %s "$out")
  echo "image: $image in $out: $((size / 1000)) kB, binary $(($(stat -c %s "$built") / 1000)) kB"
  [ "$size" -le "$MAX_SIZE" ] || [ "$PROFILE" != image ] || fail "it is over $((MAX_SIZE / 1000)) kB"
}

# plain PACKAGE NAME
plain() {
  local root
  workroom
  binary "$root/$2" "$(uname -m)" "$1" "$2"
  hack/oci.sh "${IMAGE:-$1:$(argument VERSION)}" "$root" "{\"User\":\"65532:65532\",\"Entrypoint\":[\"/$2\"]}" \
    "${OUT:-target/image/$2.tar}"
}

case ${1:-write} in
  write) write ;;
  binary) shift; binary "$@" ;;
  plain) shift; plain "$@" ;;
  *) fail "unknown command '$1'" ;;
esac
