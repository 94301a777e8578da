#!/usr/bin/env bash
# Writes an image of one layer as a tar in OCI layout, without a container engine. The same input gives the same bytes.
#   hack/oci.sh IMAGE ROOT CONFIG TAR
# IMAGE   its name with a tag       ROOT  a folder with its files
# CONFIG  the config's `config` member, in JSON       TAR  where it goes
# ARCH (default: this machine's) and SOURCE_DATE_EPOCH (default: 0) are taken from the environment.
set -euo pipefail
image=$1 root=$2 config=$3 out=$4

case ${ARCH:-$(uname -m)} in
  x86_64 | amd64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) echo "image: unknown architecture ${ARCH:-$(uname -m)}" >&2; exit 1 ;;
esac
epoch=${SOURCE_DATE_EPOCH:-0}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
# A name without a domain is one of the default domain's; kubelet looks for it under that name.
case $image in
  *.*/* | *:*/* | localhost/*) full=$image ;;
  */*) full=docker.io/$image ;;
  *) full=docker.io/library/$image ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/layout/blobs/sha256
mkdir -p "$blobs"

archive() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" --format=ustar -C "$1" -cf - "${@:2}"; }
# Moves a file among the blobs; sets `digest` and `size`.
blob() {
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "$blobs/$digest"
}

mapfile -t entries < <(cd "$root" && ls -A)
archive "$root" "${entries[@]}" >"$work/layer"
diff_id=$(sha256sum "$work/layer" | cut -d' ' -f1)
gzip -n -9 <"$work/layer" >"$work/layer.gz"
blob "$work/layer.gz"
layer=$digest layer_size=$size

printf '{"created":"%s","architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"%s","created_by":"hack/oci.sh"}]}' \
  "$created" "$arch" "$config" "$diff_id" "$created" >"$work/config"
blob "$work/config"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}]}' \
  "$digest" "$size" "$layer" "$layer_size" >"$work/manifest"
blob "$work/manifest"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"%s","os":"linux"},"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}]}' \
  "$digest" "$size" "$arch" "$full" "${image##*:}" >"$work/layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/layout/oci-layout"

mkdir -p "$(dirname "$out")"
archive "$work/layout" oci-layout index.json blobs >"$out.part"
mv "$out.part" "$out"
