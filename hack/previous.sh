#!/usr/bin/env bash
# The version before this one, which the tests of upgrades begin with: what deploy/previous-commit names, built once from this
# repository's own history into the cache of hack/tools.sh, in a folder of its commit.
#   hack/previous.sh          build what is missing, print the folder: image.tar, chart/, crds.yaml
#   hack/previous.sh --chart  the same without the image, which is what takes time
# The image is named busway.test/busway:previous. Its binary is that of profile `quick`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

fail() { echo "previous: $*" >&2; exit 1; }

COMMIT=$(cat deploy/previous-commit)
[[ $COMMIT =~ ^[0-9a-f]{40}$ ]] || fail "deploy/previous-commit is not one commit's whole hash: $COMMIT"
ROOT=$(dirname "$(hack/tools.sh --print-dir)")
DIR=$ROOT/previous-${COMMIT:0:12}

# What a file of the commit needs: the commit. Clones of CI services often have the last one only.
commit_is_there() {
  git cat-file -e "$COMMIT^{commit}" 2>/dev/null || fail "the version to upgrade from, commit $COMMIT (deploy/previous-commit), is not in this clone's history.
  A shallow clone: \`git fetch --unshallow\`, or \`git fetch --depth=1 origin $COMMIT\`; in CI, have the whole history checked out (fetch-depth: 0).
  No repository at all, as from an archive of the sources: clone it, or copy $DIR from a machine that has it."
}

chart() {
  git archive "$COMMIT" charts/busway deploy/crds.yaml | tar -x -C "$WORK"
  mkdir -p "$DIR"
  mv "$WORK/deploy/crds.yaml" "$DIR/crds.yaml"
  mv "$WORK/charts/busway" "$DIR/chart"
}

# With that commit's own recipe. Dependencies that this checkout's images have built are taken over; what is the workspace's
# own is not: Cargo knows it by path and time only, and both commits' would pass for each other's.
image() {
  local source=$WORK/source log=$ROOT/previous-${COMMIT:0:12}.log built
  mkdir -p "$source/target/image"
  git archive "$COMMIT" | tar -x -m -C "$source"
  for built in target/image/quick target/image/*/quick; do
    [ -d "$built/.fingerprint" ] || continue
    mkdir -p "$source/$built"
    # Fingerprints first: what another build finishes meanwhile has none here, and is built anew.
    cp -a "$built/.fingerprint" "$source/$built/"
    rm -rf "$source/$built/.fingerprint/"busway*
    cp -a "$built/build" "$source/$built/"
    mkdir "$source/$built/deps"
    find "$built/deps" -type f ! -name '*busway*' -exec cp -a -t "$source/$built/deps" {} +
  done
  echo "previous: building the image of commit ${COMMIT:0:12} (log: $log)" >&2
  if ! (cd "$source" && PROFILE=quick IMAGE=busway.test/busway:previous OUT=$WORK/image.tar hack/image.sh) >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "building it failed; the whole log is $log"
  fi
  mv "$WORK/image.tar" "$DIR/image.tar"
}

case ${1:-} in
  '') wanted="chart image.tar" ;;
  --chart) wanted=chart ;;
  *) fail "unknown argument '$1'" ;;
esac
for part in $wanted; do
  [ ! -e "$DIR/$part" ] || continue
  commit_is_there
  mkdir -p "$ROOT"
  exec 9>"$ROOT/.previous.lock"
  flock 9
  WORK=$(mktemp -d "$ROOT/.work.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  # Another run may have been quicker.
  [ -e "$DIR/$part" ] || "${part%.tar}"
  rm -rf "$WORK"
done
echo "$DIR"
