#!/usr/bin/env bash
# Writes the generated files anew; with --check compares them with what is committed and changes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# File or folder, and the arguments of `busway` that print it (a folder: that write into the folder named last).
generated() {
  cat <<'TABLE'
deploy/crds.yaml  crds
crds/             crds --split
docs/reasons.md   docs reasons
docs/metrics.md   docs metrics
docs/delivery.md  docs delivery
TABLE
}

check=${1:-}
into=.
if [ "$check" = --check ]; then
  into=$(mktemp -d)
  trap 'rm -rf "$into"' EXIT
fi

cargo build --quiet --bin busway
busway=${CARGO_TARGET_DIR:-target}/debug/busway
stale=0
while read -r path arguments; do
  new=$into/$path
  case $path in
    */) mkdir -p "$new" && rm -f "$new"*.yaml && "$busway" $arguments "$new" ;;
    *) mkdir -p "$(dirname "$new")" && "$busway" $arguments >"$new" ;;
  esac
  if [ "$check" = --check ] && ! diff -ru "$path" "$new"; then stale=1; fi
done < <(generated)

if [ "$stale" -ne 0 ]; then
  echo "generated files differ from what is committed: run \`make generate\` and commit the result" >&2
  exit 1
fi
