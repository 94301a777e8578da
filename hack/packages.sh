#!/usr/bin/env bash
# What the test bed needs of Debian: installs what is missing when it may (root, apt-get), else says what to install.
set -euo pipefail

# A command, and the package that brings it.
NEEDS="
  runc                  runc
  /usr/lib/cni/bridge   containernetworking-plugins
  iptables              iptables
  ip                    iproute2
  conntrack             conntrack
  openssl               openssl
  /bin/busybox          busybox-static
  nsenter               util-linux
  flock                 util-linux
"
export PATH=$PATH:/usr/sbin:/sbin

missing() {
  local command package
  while read -r command package; do
    [ -n "$command" ] || continue
    command -v "$command" >/dev/null || echo "$package"
  done <<<"$NEEDS" | sort -u
}

mapfile -t packages < <(missing)
[ "${#packages[@]}" -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "test bed: installing ${packages[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >/dev/null
  mapfile -t packages < <(missing)
fi
if [ "${#packages[@]}" -gt 0 ]; then
  echo "test bed: not installed; as root: apt-get install ${packages[*]}" >&2
  exit 1
fi
