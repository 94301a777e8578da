#!/usr/bin/env bash
# The first process of a test cluster: makes its network, starts its daemons, and collects what they leave behind.
# hack/cluster.sh starts it in namespaces of its own:  node.sh DIR LOGS NAME AUDIT(yes|no) TOOLS
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
DIR=$1 LOGS=$2 NAME=$3 AUDIT=$4
export PATH=$5:$PATH:/usr/sbin:/sbin KUBECONFIG=$DIR/kubeconfig

# The same in every cluster: no two share a network.
NODE_IP=172.30.0.1
PODS=10.244.0    # /24, the gateway is .1; DNS listens there
SERVICES=10.96.0 # /16
CGROUP=busway-cluster-$NAME
ETCD=http://127.0.0.1:2379

# shellcheck source=hack/cluster/config.sh
source "$HERE/config.sh"

mounts() {
  mount --make-rprivate /
  # Everything has these places built in. What is written to them stays here.
  mount -t tmpfs run /run
  mkdir -p /run/netns
  local place
  for place in lib log; do
    mkdir -p "$DIR/var/$place" "$DIR/var/.$place"
    mount -t overlay "$place" -o "lowerdir=/var/$place,upperdir=$DIR/var/$place,workdir=$DIR/var/.$place" "/var/$place"
  done
  # Names are asked of nobody: an image that is not there is an error at once.
  echo "nameserver 127.0.0.1" >"$DIR/resolv.conf"
  if [ -e /etc/resolv.conf ]; then mount --bind "$DIR/resolv.conf" /etc/resolv.conf; fi
}

network() {
  ip link set lo up
  ip link add node0 type bridge
  ip addr add "$NODE_IP/32" dev node0
  ip link set node0 up
  ip link add cni0 type bridge
  ip addr add "$PODS.1/24" dev cni0
  ip link set cni0 up
  # A service's address ends at an empty bridge until kube-proxy has its rule: nothing is ever sent elsewhere.
  ip route add "$SERVICES.0/16" dev node0
  sysctl -qw net.ipv4.ip_forward=1
}

cgroups() {
  local controller group
  for controller in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$controller/cgroup.procs" ] || continue
    # With version 2 only the root is one; its folders are groups.
    [ "$controller" = /sys/fs/cgroup ] || mountpoint -q "$controller" || continue
    group=$controller/$CGROUP
    mkdir -p "$group"
    # A new group of version 1 has no CPUs until it is told which.
    if [ -e "$group/cpuset.cpus" ] && [ ! -e "$group/cgroup.controllers" ]; then
      cat "$controller/cpuset.cpus" >"$group/cpuset.cpus"
      cat "$controller/cpuset.mems" >"$group/cpuset.mems"
    fi
  done
}

# daemon NAME COMMAND…: started again when it ends, so that a test may kill it. One that does not get going at all ends the start.
daemon() {
  local name=$1 ends=0
  shift
  while :; do
    "$@" >>"$LOGS/$name.log" 2>&1 </dev/null || true
    echo "$(date -u +%FT%TZ) $name ended; starting it again"
    [ -e "$DIR/ready" ] || [ $((ends += 1)) -lt 5 ] || kill -TERM 1
    sleep 1
  done &
}

# until_ok SECONDS COMMAND…
until_ok() {
  local last=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$last" ] || { echo "gave up waiting for: $*"; exit 1; }
    sleep 0.1
  done
}

control_plane() {
  local audit=()
  if [ "$AUDIT" = yes ]; then
    audit=(--audit-policy-file="$DIR/audit.yaml" --audit-log-path="$LOGS/audit.log" --audit-log-maxsize=2000)
  fi
  daemon etcd etcd --data-dir="$DIR/etcd" --listen-client-urls=$ETCD --advertise-client-urls=$ETCD \
    --listen-peer-urls=http://127.0.0.1:0 --unsafe-no-fsync --log-level=error
  daemon kube-apiserver kube-apiserver --etcd-servers=$ETCD --bind-address=$NODE_IP --advertise-address=$NODE_IP --secure-port=6443 \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --service-account-key-file="$PKI/accounts.pub" --service-account-signing-key-file="$PKI/accounts.key" \
    --service-account-issuer=https://kubernetes.default.svc --authorization-mode=Node,RBAC --allow-privileged=true \
    --service-cluster-ip-range="$SERVICES.0/16" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" "${audit[@]}"
}

controllers() {
  # Faster than a cluster's defaults: a test makes and removes objects all the time.
  local fast=(--leader-elect=false --secure-port=0 --kubeconfig="$KUBECONFIG" --kube-api-qps=500 --kube-api-burst=1000)
  daemon kube-controller-manager kube-controller-manager "${fast[@]}" --root-ca-file="$PKI/ca.crt" \
    --service-account-private-key-file="$PKI/accounts.key" --use-service-account-credentials=true
  daemon kube-scheduler kube-scheduler "${fast[@]}"
}

node() {
  daemon kubelet kubelet --config="$DIR/kubelet.yaml" --kubeconfig="$KUBECONFIG" --root-dir="$DIR/kubelet" \
    --hostname-override=node1 --node-ip=$NODE_IP
  daemon kube-proxy kube-proxy --config="$DIR/kube-proxy.yaml"
  daemon coredns coredns -conf "$DIR/Corefile"
}

# What keeps a pod's namespaces: busybox doing nothing.
pause_image() {
  mkdir -p "$DIR/pause/bin"
  cp /bin/busybox "$DIR/pause/bin/busybox"
  "$HERE/../oci.sh" $PAUSE_IMAGE "$DIR/pause" '{"Entrypoint":["/bin/busybox","tail","-f","/dev/null"]}' "$DIR/pause.tar"
  rm -rf "$DIR/pause"
  until_ok 30 test -S "$DIR/containerd.sock"
  until_ok 30 ctr --address "$DIR/containerd.sock" --namespace k8s.io images import "$DIR/pause.tar"
}

# A first process gets only the signals that it asks for.
trap 'exit 1' TERM
mounts
network
cgroups
write_config
daemon containerd containerd --config "$DIR/containerd.toml"
control_plane
pause_image
until_ok 60 kubectl get --raw /readyz
controllers
node
until_ok 60 kubectl wait --for=condition=Ready node/node1 --timeout=2s
until_ok 60 kubectl get serviceaccount default
touch "$DIR/ready"
# Orphans become children of this process; a shell that waits collects them.
while :; do wait -n || sleep 1; done
