# The files that a test cluster's daemons read. Sourced by node.sh, whose variables it uses.
# shellcheck shell=bash disable=SC2154

PKI=$DIR/pki
PAUSE_IMAGE=busway.test/pause:1

write_config() {
  mkdir -p "$PKI" "$DIR/cni" "$DIR/kubelet"
  pki
  kubeconfig
  containerd_config
  cni_config
  kubelet_config
  proxy_config
  dns_config
  # Who asked for what, without bodies: enough to compare roles with their use.
  printf '%s\n' 'apiVersion: audit.k8s.io/v1' 'kind: Policy' 'omitStages: [RequestReceived]' 'rules: [{level: Metadata}]' >"$DIR/audit.yaml"
}

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# certificate NAME SUBJECT ALTERNATIVE-NAMES
certificate() {
  key "$PKI/$1.key"
  openssl req -new -key "$PKI/$1.key" -subj "$2" -out "$PKI/$1.csr"
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 365 \
    -extfile <(echo "subjectAltName=$3") -out "$PKI/$1.crt" 2>/dev/null
}

pki() {
  local service=kubernetes.default
  key "$PKI/ca.key"
  openssl req -x509 -new -key "$PKI/ca.key" -subj /CN=busway-test -days 365 -out "$PKI/ca.crt"
  certificate apiserver /CN=kube-apiserver \
    "IP:$NODE_IP,IP:$SERVICES.1,IP:127.0.0.1,DNS:kubernetes,DNS:$service,DNS:$service.svc,DNS:$service.svc.cluster.local"
  certificate admin /O=system:masters/CN=admin DNS:admin
  certificate kubelet-client /O=system:masters/CN=apiserver DNS:apiserver
  key "$PKI/accounts.key"
  openssl ec -in "$PKI/accounts.key" -pubout -out "$PKI/accounts.pub" 2>/dev/null
}

kubeconfig() {
  cat >"$KUBECONFIG.part" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://$NODE_IP:6443", certificate-authority: "$PKI/ca.crt"}}]
users: [{name: admin, user: {client-certificate: "$PKI/admin.crt", client-key: "$PKI/admin.key"}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
EOF
  mv "$KUBECONFIG.part" "$KUBECONFIG"
}

containerd_config() {
  # Without CAP_SYS_RESOURCE a container's score for the OOM killer cannot be lowered; with the restriction none is.
  cat >"$DIR/containerd.toml" <<EOF
version = 3
root = "$DIR/containerd"
state = "/run/containerd"
[grpc]
  address = "$DIR/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "$PAUSE_IMAGE"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
  conf_dir = "$DIR/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
EOF
}

cni_config() {
  cat >"$DIR/cni/10-pods.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$PODS.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
}

kubelet_config() {
  cat >"$DIR/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
containerRuntimeEndpoint: unix://$DIR/containerd.sock
clusterDNS: ["$PODS.1"]
clusterDomain: cluster.local
resolvConf: $DIR/resolv.conf
maxPods: 200
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $PKI/ca.crt}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
# The machine's disk may be nearly full; that is not what is tested.
evictionHard: {memory.available: 1Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
EOF
}

proxy_config() {
  cat >"$DIR/kube-proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $PODS.0/24
hostnameOverride: node1
clientConnection: {kubeconfig: $KUBECONFIG}
# Zero: leave the kernel's settings, which are the machine's.
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
EOF
}

dns_config() {
  cat >"$DIR/Corefile" <<EOF
.:53 {
  bind $PODS.1
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $KUBECONFIG
    pods insecure
    ttl 1
  }
}
EOF
}
