#!/bin/sh
# Write the certificates and the YAML of an installation of coredumpd. Applies nothing.
# deploy/deploy.md explains every part of it.
set -eu
umask 077

GROUP=coredump.fujitsu.com
STORE_DIR=/var/lib/coredump-store # in the pods, whatever the store is
OBJECTS_DIR=/var/lib/coredumpd-objects
NONROOT=65532
CA_DAYS=3650
CERTIFICATE_DAYS=730
RENEW_BEFORE_S=2592000 # 30 days

usage() {
    cat <<END
usage: deploy/deploy.sh [OPTIONS] NAMESPACE SERVICE OUTDIR

Writes OUTDIR/pki/ (a certificate authority of our own, kept when run again) and
OUTDIR/coredumpd.yaml, for \`kubectl apply -f OUTDIR/coredumpd.yaml\`.

NAMESPACE  where coredumpd runs; a namespace of its own
SERVICE    the name of the API server's Service
OUTDIR     a directory, made if missing; it holds private keys

Options, each with the environment variable that sets it too:
  --image IMAGE            COREDUMPD_IMAGE              (local/coredumpd:$VERSION)
  --pull-policy POLICY     COREDUMPD_PULL_POLICY        Always, IfNotPresent or Never (IfNotPresent)
  --store STORE            COREDUMPD_STORE              where dumps are kept (server)
                             server              the server's own claim coredumpd-store, of the default
                                                 StorageClass, part of the YAML: the agents send dumps
                                                 to the server over HTTPS, and cannot read the store
                             server:CLAIM        the same, with a claim that you made in NAMESPACE;
                                                 ReadWriteOnce is enough
                           with these, every agent can read and remove every dump (docs/store.md):
                             pvc:CLAIM           a ReadWriteMany claim in NAMESPACE
                             nfs:SERVER:/PATH    an NFS export
                             hostPath:/DIR       one node's own disk: clusters of one node, tests
                             s3://BUCKET/PREFIX, gs://…, az://…   a bucket, as far as its credentials go
  --store-size SIZE        COREDUMPD_STORE_SIZE         of the claim that --store server makes (20Gi)
  --store-secret SECRET    COREDUMPD_STORE_SECRET       a Secret in NAMESPACE whose keys become environment
                             variables: a bucket's credentials
  --objects WHERE          COREDUMPD_OBJECTS            where CoredumpEndpoints are kept (emptyDir)
                             emptyDir            lost when the server's pod is replaced
                             hostPath:/DIR       an existing directory that uid $NONROOT may write
                             pvc:CLAIM           a claim in NAMESPACE
                             etcd://HOST:PORT,HOST:PORT/PREFIX    an etcd; two servers run then
  --etcd-tls-secret SECRET COREDUMPD_ETCD_TLS_SECRET    a Secret in NAMESPACE with ca.crt, tls.crt, tls.key
  --etcd-user-secret SECRET  COREDUMPD_ETCD_USER_SECRET   a Secret in NAMESPACE with username, password
  --metrics-namespace NS   COREDUMPD_METRICS_NAMESPACE  whose pods may read the agents' metrics (monitoring)
  --api-ports PORTS        COREDUMPD_API_PORTS          of kube-apiserver, where NetworkPolicies hold
                             (443,6443)
  --host-dir DIR           COREDUMPD_HOST_DIR           handler and spool on each node (/var/lib/coredumpd);
                             must not be mounted noexec: COS wants /home/kubernetes/bin/coredumpd
  --runtime-state-dir DIR  COREDUMPD_RUNTIME_STATE_DIR  where the container runtime keeps one directory
                             per container on each node; asked before the usual places. May be given
                             several times; in the variable, separate them by ':'
  --nodes TERMS            COREDUMPD_NODES              which nodes get an agent, beside those that are
                             virtual: KEY=VALUE, KEY!=VALUE, KEY or !KEY of their labels, joined by ','
  --tolerations TAINTS     COREDUMPD_TOLERATIONS        of the agents: KEY[=VALUE][:EFFECT], joined by
                             ',' (every taint)
  --max-unavailable N      COREDUMPD_MAX_UNAVAILABLE    agents that an update replaces at a time, a
                             number or a percentage of the nodes (10%)
  --max-size SIZE          COREDUMPD_MAX_SIZE           longer cores are truncated (8Gi)
  --kubernetes RELEASE     COREDUMPD_KUBERNETES         1.20 is the one that needs saying (1.21 or newer)
  --help
END
}

fail() {
    printf 'deploy.sh: %s\n' "$*" >&2
    exit 2
}

newline='
'
# check NAME VALUE RULE PATTERN: the whole value must match the extended regular expression.
check() {
    case $2 in
    *"$newline"* | */../* | */..) fail "$1: '$2': must not hold a newline or '..'" ;;
    esac
    printf '%s\n' "$2" | grep -Eqx -- "$4" || fail "$1: '$2': $3"
}

here=$(cd "$(dirname "$0")" && pwd)
VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$here/../coredumpd/__init__.py")
image=${COREDUMPD_IMAGE:-local/coredumpd:$VERSION}
pull_policy=${COREDUMPD_PULL_POLICY:-IfNotPresent}
store=${COREDUMPD_STORE:-server}
store_size=${COREDUMPD_STORE_SIZE:-20Gi}
metrics_namespace=${COREDUMPD_METRICS_NAMESPACE:-monitoring}
api_ports=${COREDUMPD_API_PORTS:-443,6443}
objects=${COREDUMPD_OBJECTS:-emptyDir}
store_secret=${COREDUMPD_STORE_SECRET:-}
etcd_tls_secret=${COREDUMPD_ETCD_TLS_SECRET:-}
etcd_user_secret=${COREDUMPD_ETCD_USER_SECRET:-}
host_dir=${COREDUMPD_HOST_DIR:-/var/lib/coredumpd}
runtime_state_dirs=${COREDUMPD_RUNTIME_STATE_DIR:-}
nodes=${COREDUMPD_NODES:-}
tolerations=${COREDUMPD_TOLERATIONS:-}
max_unavailable=${COREDUMPD_MAX_UNAVAILABLE:-10%}
max_size=${COREDUMPD_MAX_SIZE:-8Gi}
kubernetes=${COREDUMPD_KUBERNETES:-1.21}

while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --image | --pull-policy | --store | --store-size | --store-secret | --objects | --etcd-tls-secret | \
        --etcd-user-secret | --metrics-namespace | --api-ports | --host-dir | --runtime-state-dir | \
        --nodes | --tolerations | --max-unavailable | --max-size | --kubernetes)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --image) image=$2 ;;
        --pull-policy) pull_policy=$2 ;;
        --store) store=$2 ;;
        --store-size) store_size=$2 ;;
        --store-secret) store_secret=$2 ;;
        --objects) objects=$2 ;;
        --etcd-tls-secret) etcd_tls_secret=$2 ;;
        --etcd-user-secret) etcd_user_secret=$2 ;;
        --metrics-namespace) metrics_namespace=$2 ;;
        --api-ports) api_ports=$2 ;;
        --host-dir) host_dir=$2 ;;
        --runtime-state-dir) runtime_state_dirs=${runtime_state_dirs:+$runtime_state_dirs:}$2 ;;
        --nodes) nodes=$2 ;;
        --tolerations) tolerations=$2 ;;
        --max-unavailable) max_unavailable=$2 ;;
        --max-size) max_size=$2 ;;
        --kubernetes) kubernetes=$2 ;;
        esac
        shift 2
        ;;
    --)
        shift
        break
        ;;
    -*) fail "$1 is not an option; see --help" ;;
    *) break ;;
    esac
done
[ $# -eq 3 ] || fail "3 arguments are needed, NAMESPACE SERVICE OUTDIR; there are $#; see --help"
namespace=$1 service=$2 out=$3

label='[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'
path='/[A-Za-z0-9._/-]*[A-Za-z0-9._-]'
check NAMESPACE "$namespace" "must be a DNS label: a-z, 0-9 and '-', at most 63" "$label"
case $namespace in
default | kube-public | kube-node-lease)
    fail "NAMESPACE: '$namespace': the agent makes its namespace a privileged one; give it its own"
    ;;
esac
check SERVICE "$service" "must be a DNS label that begins with a letter" "[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
check --image "$image" "must be an image reference" '[A-Za-z0-9][A-Za-z0-9._:/@-]*'
check --pull-policy "$pull_policy" "must be Always, IfNotPresent or Never" 'Always|IfNotPresent|Never'
check --host-dir "$host_dir" "must be an absolute path of letters, digits and '._-'" "$path"
check --kubernetes "$kubernetes" "must be a release from 1.20 on, such as 1.31" '1\.[2-9][0-9]'
check --max-size "$max_size" "must be a size such as 512Mi or 8Gi" '[0-9]+([KMGT]i?)?'
[ -z "$runtime_state_dirs" ] || check --runtime-state-dir "$runtime_state_dirs" "must be an absolute path" "$path(:$path)*"
word='[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?'
key="([a-z0-9.-]{1,253}/)?$word"
term="(!?$key|$key!?=$word)"
taint="$key(=$word)?(:(NoSchedule|PreferNoSchedule|NoExecute))?"
[ -z "$nodes" ] || check --nodes "$nodes" "must be KEY=VALUE, KEY!=VALUE, KEY or !KEY, joined by ','" "$term(,$term)*"
[ -z "$tolerations" ] || check --tolerations "$tolerations" "must be KEY[=VALUE][:EFFECT], joined by ','" "$taint(,$taint)*"
check --max-unavailable "$max_unavailable" "must be a number from 1 on, or 1% to 100%" '[1-9][0-9]{0,4}|([1-9][0-9]?|100)%'
check --store-size "$store_size" "must be a size such as 20Gi" '[0-9]+[KMGT]i?'
check --metrics-namespace "$metrics_namespace" "must be a DNS label" "$label"
check --api-ports "$api_ports" "must be ports such as 443,6443" '[0-9]{1,5}(,[0-9]{1,5})*'
check --store "$store" \
    "must be server, server:CLAIM, pvc:CLAIM, nfs:SERVER:/PATH, hostPath:/DIR or a bucket's URL" \
    "server|hostPath:$path|(pvc|server):$label|nfs:[A-Za-z0-9.-]+:$path|(s3|gs|az)://[a-z0-9][a-z0-9.-]*(/[A-Za-z0-9._/-]*)?"
check --objects "$objects" "must be emptyDir, hostPath:/DIR, pvc:CLAIM or an etcd's URL" \
    "emptyDir|hostPath:$path|pvc:$label|etcd(\\+http)?://[A-Za-z0-9.:,-]+$path"
for secret in --store-secret="$store_secret" --etcd-tls-secret="$etcd_tls_secret" \
    --etcd-user-secret="$etcd_user_secret"; do
    [ -z "${secret#*=}" ] || check "${secret%%=*}" "${secret#*=}" "must be a Secret's name" "$label"
done
command -v openssl >/dev/null || fail "openssl is needed for the certificates and is not installed"
mkdir -p "$out/pki" || fail "OUTDIR: '$out': cannot be made"

# --- certificates ---

pki=$out/pki
if [ ! -s "$pki/ca.crt" ] || [ ! -s "$pki/ca.key" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 \
        -days "$CA_DAYS" -subj "/CN=coredumpd API authority" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>/dev/null ||
        fail "openssl could not make the authority in $pki"
fi

host=$service.$namespace.svc
current() { # is the server's certificate there, ours, for this name, and good for a while?
    [ -s "$pki/tls.crt" ] && [ -s "$pki/tls.key" ] &&
        openssl verify -CAfile "$pki/ca.crt" -verify_hostname "$host" "$pki/tls.crt" &&
        openssl x509 -in "$pki/tls.crt" -checkend "$RENEW_BEFORE_S"
}
if ! current >/dev/null 2>&1; then
    cat >"$pki/tls.ext" <<END
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:$service,DNS:$service.$namespace,DNS:$host,DNS:$host.cluster.local
END
    {
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 \
            -subj "/CN=coredumpd API server" -keyout "$pki/tls.key" -out "$pki/tls.csr" &&
            openssl x509 -req -in "$pki/tls.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -sha256 \
                -set_serial "0x$(openssl rand -hex 16)" -days "$CERTIFICATE_DAYS" \
                -extfile "$pki/tls.ext" -out "$pki/tls.crt"
    } 2>/dev/null || fail "openssl could not sign the server's certificate in $pki"
    rm -f "$pki/tls.csr" "$pki/tls.ext"
fi

# --- parts of the YAML that depend on the options ---

base64_of() {
    base64 <"$1" | tr -d '\n'
}

# volume NAME WHERE TYPE: a volume of a pod, indented for `volumes:`; nothing for a URL
volume() {
    case $2 in *://*) return 0 ;; esac
    echo "        - name: $1"
    case $2 in
    emptyDir) echo "          emptyDir: {sizeLimit: 1Gi} # objects have 256Mi, and a history" ;;
    pvc:*) echo "          persistentVolumeClaim: {claimName: ${2#pvc:}}" ;;
    nfs:*)
        rest=${2#nfs:}
        echo "          nfs: {server: ${rest%%:*}, path: ${rest#*:}}"
        ;;
    hostPath:*) echo "          hostPath: {path: ${2#hostPath:}, type: $3}" ;;
    esac
}

mount() { # mount NAME WHERE PATH: its place in a container; nothing for a URL
    case $2 in *://*) return 0 ;; esac
    echo "            - {name: $1, mountPath: $3}"
}

secret_volume() { # secret_volume NAME SECRET
    [ -z "$2" ] || echo "        - {name: $1, secret: {secretName: $2}}"
}

secret_mount() { # secret_mount NAME SECRET
    [ -z "$2" ] || echo "            - {name: $1, mountPath: /etc/coredumpd/$1, readOnly: true}"
}

store_environment() {
    [ -z "$store_secret" ] || echo "          envFrom: [{secretRef: {name: $store_secret}}]"
}

claim=
[ "$store" != server ] || {
    claim=coredumpd-store
    store=server:$claim
}
agent_store=$store
case $store in *://*) store_url=$store ;; *) store_url=file://$STORE_DIR ;; esac
agent_store_url=$store_url
case $store in
server:*)
    case $objects in *://*) fail "--store server has one server, --objects in an etcd two; name another store" ;; esac
    store=pvc:${store#server:}
    agent_store_url=https://$host:443
    agent_store=$agent_store_url
    ;;
esac
[ "$kubernetes" = 1.20 ] && pdb_api=policy/v1beta1 || pdb_api=policy/v1
case $objects in
*://*)
    objects_url=$objects
    replicas=2
    strategy='{type: RollingUpdate, rollingUpdate: {maxUnavailable: 0}}'
    ;;
*)
    objects_url=sqlite:///$OBJECTS_DIR/objects.db
    replicas=1
    strategy='{type: Recreate} # SQLite has one writer'
    ;;
esac

config() {
    cat <<END
policy:
  maxSize: $max_size
END
    if [ -n "$runtime_state_dirs" ]; then
        cat <<END
  runtimeStateDirs:
$(printf '%s\n' "$runtime_state_dirs" | tr : '\n' | sed 's/^/    - /')
    - /run/containerd/io.containerd.runtime.v2.task/k8s.io
    - /run/containers/storage/overlay-containers
    - /var/lib/docker/containers
    - /run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io
    - /var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io
    - /run/k0s/containerd/io.containerd.runtime.v2.task/k8s.io
    - /var/lib/k0s/run/containerd/io.containerd.runtime.v2.task/k8s.io
END
    fi
    cat <<END
agent:
  hostDir: $host_dir
  store: $agent_store_url
server:
  store: $store_url
  objects: $objects_url
END
    [ "$agent_store_url" = "$store_url" ] || cat <<END
  uploadAccount: system:serviceaccount:$namespace:coredumpd-agent
upload:
  caFile: /etc/coredumpd/config/ca.crt
END
    [ -z "$etcd_tls_secret$etcd_user_secret" ] || echo "etcd:"
    [ -z "$etcd_tls_secret" ] || cat <<END
  caFile: /etc/coredumpd/etcd-tls/ca.crt
  certFile: /etc/coredumpd/etcd-tls/tls.crt
  keyFile: /etc/coredumpd/etcd-tls/tls.key
END
    [ -z "$etcd_user_secret" ] || echo "  credentialsDir: /etc/coredumpd/etcd-user"
}

digest() { # of standard input; in an annotation it restarts the pods when what it digests changes
    openssl dgst -sha256 -r | cut -c1-16
}

# --- the YAML ---

namespace_yaml() {
    [ "$namespace" != kube-system ] || return 0
    cat <<END
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    app.kubernetes.io/part-of: coredumpd
    # The agent's guard writes the node's core_pattern: privileged, hostPath, hostPID. Everything
    # else in here would pass "restricted", but for the shipper's uid 0 and hostPath (1.25+).
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/warn: privileged
    pod-security.kubernetes.io/audit: privileged
---
END
}

# Where the server is the agents' store, it writes the Events on pods; else the agents do.
agent_rules() {
    if [ "$agent_store_url" = "$store_url" ]; then
        echo '  # Events on the pod that crashed, in its namespace, and on the Node, in the namespace default.'
        echo '  - {apiGroups: [""], resources: [events], verbs: [create, patch]}'
    else
        echo '  # Dumps go to the server; so do Events on pods of this node, which the server writes.'
        echo '  - {nonResourceURLs: ["/agent/v1/*"], verbs: [get, update, create]}'
    fi
}

node_events_yaml() { # Events on the Node lie in the namespace default
    [ "$agent_store_url" != "$store_url" ] || return 0
    cat <<END
# Events on the Node. Some of them say that the server cannot be reached.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: "coredumpd:agent:node-events", namespace: default}
rules:
  - {apiGroups: [""], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: "coredumpd:agent:node-events", namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "coredumpd:agent:node-events"}
subjects:
  - {kind: ServiceAccount, name: coredumpd-agent, namespace: $namespace}
---
END
}

rbac_yaml() {
    cat <<END
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredumpd-server, namespace: $namespace}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredumpd-agent, namespace: $namespace}
---
# The server asks kube-apiserver who a caller is and what the caller may do.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "coredumpd:server:auth-delegator"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects:
  - {kind: ServiceAccount, name: coredumpd-server, namespace: $namespace}
---
# It reads which front proxy to trust (ConfigMap extension-apiserver-authentication).
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: "coredumpd:server:auth-reader", namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects:
  - {kind: ServiceAccount, name: coredumpd-server, namespace: $namespace}
---
# It looks up the pods and namespaces, to know the owner of each dump and which dumps to remove.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "coredumpd:server"}
rules:
  - {apiGroups: [""], resources: [pods], verbs: [get, list]}
  - {apiGroups: [""], resources: [namespaces], verbs: [get, list]}
  - {apiGroups: [""], resources: [events], verbs: [create, patch]} # of quotas, and those of the agents
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "coredumpd:server"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "coredumpd:server"}
subjects:
  - {kind: ServiceAccount, name: coredumpd-server, namespace: $namespace}
---
# The server that holds this lease is the leader: it alone removes dumps.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: coredumpd-server, namespace: $namespace}
rules:
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [coredumpd-collector], verbs: [get, update]}
  # It publishes, for the agents, the namespaces that have reached their quota (onQuota: reject).
  - {apiGroups: [""], resources: [configmaps], resourceNames: [coredumpd-quota], verbs: [update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: coredumpd-server, namespace: $namespace}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: coredumpd-server}
subjects:
  - {kind: ServiceAccount, name: coredumpd-server, namespace: $namespace}
---
# The agent's shipper; the guard has no token. RBAC cannot say "of this node": the shipper asks for
# the pods of its node only (spec.nodeName), but its token could list the others.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "coredumpd:agent"}
rules:
  # Which pod crashed; what the pods of this node ask for by annotations.
  - {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
  # What their namespaces ask for, and whether they are still the same namespaces.
  - {apiGroups: [""], resources: [namespaces], verbs: [get, list, watch]}
  # The keys to which a namespace's cores are encrypted; no other ConfigMap.
  - {apiGroups: [""], resources: [configmaps], resourceNames: [coredump-recipients], verbs: [get]}
$(agent_rules)
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "coredumpd:agent"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "coredumpd:agent"}
subjects:
  - {kind: ServiceAccount, name: coredumpd-agent, namespace: $namespace}
---
$(node_events_yaml)
# On SIGTERM it restores core_pattern only if its own DaemonSet is being deleted.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: coredumpd-agent, namespace: $namespace}
rules:
  - {apiGroups: [apps], resources: [daemonsets], resourceNames: [coredumpd-agent], verbs: [get]}
  # The namespaces that have reached their quota.
  - {apiGroups: [""], resources: [configmaps], resourceNames: [coredumpd-quota], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: coredumpd-agent, namespace: $namespace}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: coredumpd-agent}
subjects:
  - {kind: ServiceAccount, name: coredumpd-agent, namespace: $namespace}
---
# The rights of people, added to the built-in roles view, edit and admin.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: "coredumpd:view"
  labels:
    rbac.authorization.k8s.io/aggregate-to-view: "true"
    rbac.authorization.k8s.io/aggregate-to-edit: "true"
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
  - {apiGroups: [$GROUP], resources: [coredumpendpoints, coredumps], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: "coredumpd:edit"
  labels:
    rbac.authorization.k8s.io/aggregate-to-edit: "true"
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
  - apiGroups: [$GROUP]
    resources: [coredumpendpoints]
    verbs: [create, update, patch, delete, deletecollection]
  - {apiGroups: [$GROUP], resources: [coredumps], verbs: [delete, deletecollection]}
---
# A core is the process's memory, with every secret in it. The role view, which may not read
# Secrets, does not get it; edit and admin do: they may read Secrets and exec into the pods anyway.
# Remove the labels to grant it by a binding of its own.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: "coredumpd:download"
  labels:
    rbac.authorization.k8s.io/aggregate-to-edit: "true"
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
  - apiGroups: [$GROUP]
    resources: [coredumpendpoints/dump, coredumpendpoints/proxy, coredumps/dump, coredumps/proxy]
    verbs: [get]
---
# The stack without the memory.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: "coredumpd:backtrace"
  labels:
    rbac.authorization.k8s.io/aggregate-to-edit: "true"
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
  - {apiGroups: [$GROUP], resources: [coredumps/backtrace], verbs: [get]}
---
END
}

config_yaml() {
    cat <<END
apiVersion: v1
kind: ConfigMap
metadata: {name: coredumpd, namespace: $namespace}
data:
  config.yaml: |
$(config | sed 's/^/    /')
  ca.crt: | # who signed the server's certificate
$(sed 's/^/    /' "$pki/ca.crt")
---
# The server writes it, the agents follow it (retention.onQuota: reject).
apiVersion: v1
kind: ConfigMap
metadata: {name: coredumpd-quota, namespace: $namespace}
---
apiVersion: v1
kind: Secret
metadata: {name: coredumpd-server-tls, namespace: $namespace}
type: kubernetes.io/tls
data:
  tls.crt: $(base64_of "$pki/tls.crt")
  tls.key: $(base64_of "$pki/tls.key")
---
END
}

claim_yaml() { # the store of --store server; what becomes of its dumps when it is deleted, its class says
    [ -n "$claim" ] || return 0
    cat <<END
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $claim, namespace: $namespace}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: $store_size}}
---
END
}

egress() { # egress ANYWHERE: the rules of a pod that speaks to DNS and kube-apiserver, or to anybody
    if [ "$1" = anywhere ]; then
        echo "    - {} # a bucket or an etcd, wherever it is"
        return
    fi
    cat <<END
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    - ports: # kube-apiserver, which no selector can name
$(printf '%s\n' "$api_ports" | tr , '\n' | sed 's/.*/        - {port: &, protocol: TCP}/')
END
}

network_yaml() { # where the cluster's network obeys NetworkPolicies; the kubelet always gets through
    case $agent_store_url in file:* | https:*) agent_egress=api ;; *) agent_egress=anywhere ;; esac
    case $store_url$objects_url in *etcd*://* | s3:* | gs:* | az:*) server_egress=anywhere ;; *) server_egress=api ;; esac
    cat <<END
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: coredumpd-agent, namespace: $namespace}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: coredumpd-agent}}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports: [{port: metrics, protocol: TCP}]
      from: # before Kubernetes 1.21 the namespace needs this label
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: $metrics_namespace}}
  egress:
$(egress $agent_egress)
    - to: [{podSelector: {matchLabels: {app.kubernetes.io/name: coredumpd-server}}}]
      ports: [{port: https, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: coredumpd-server, namespace: $namespace}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: coredumpd-server}}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports: [{port: https, protocol: TCP}] # of kube-apiserver, which no selector can name
  egress:
$(egress $server_egress)
---
END
}

server_yaml() {
    cat <<END
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1alpha1.$GROUP}
spec:
  group: $GROUP
  version: v1alpha1
  groupPriorityMinimum: 2000
  versionPriority: 10
  service: {name: $service, namespace: $namespace, port: 443}
  caBundle: $(base64_of "$pki/ca.crt")
---
apiVersion: v1
kind: Service
metadata:
  name: $service
  namespace: $namespace
  labels: {app.kubernetes.io/name: coredumpd-server, app.kubernetes.io/part-of: coredumpd}
spec:
  selector: {app.kubernetes.io/name: coredumpd-server}
  ports:
    - {name: https, port: 443, targetPort: https, protocol: TCP}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: coredumpd-server
  namespace: $namespace
  labels: {app.kubernetes.io/name: coredumpd-server, app.kubernetes.io/part-of: coredumpd}
spec:
  replicas: $replicas
  strategy: $strategy
  selector: {matchLabels: {app.kubernetes.io/name: coredumpd-server}}
  template:
    metadata:
      labels: {app.kubernetes.io/name: coredumpd-server, app.kubernetes.io/part-of: coredumpd}
      annotations:
        checksum/config: "$({ config && cat "$pki/tls.crt"; } | digest)"
    spec:
      serviceAccountName: coredumpd-server
      priorityClassName: system-cluster-critical
      securityContext:
        runAsNonRoot: true
        runAsUser: $NONROOT
        runAsGroup: $NONROOT
        fsGroup: $NONROOT
        seccompProfile: {type: RuntimeDefault}
      affinity: # not all servers on one node
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector: {matchLabels: {app.kubernetes.io/name: coredumpd-server}}
      terminationGracePeriodSeconds: 75 # shutdownDelay and shutdownGrace: downloads finish
      containers:
        - name: server
          image: $image
          imagePullPolicy: $pull_policy
          args: [server, --config, /etc/coredumpd/config/config.yaml]
$(store_environment)
          ports:
            - {name: https, containerPort: 8443, protocol: TCP}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          startupProbe:
            httpGet: {path: /livez, port: https, scheme: HTTPS}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /livez, port: https, scheme: HTTPS}
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /readyz, port: https, scheme: HTTPS}
            timeoutSeconds: 5
            periodSeconds: 5
          resources:
            requests: {cpu: 50m, memory: 128Mi}
            limits: {memory: 512Mi}
          volumeMounts:
            - {name: tmp, mountPath: /tmp} # the executable unpacks itself here
            - {name: config, mountPath: /etc/coredumpd/config, readOnly: true}
            - {name: tls, mountPath: /etc/coredumpd/tls, readOnly: true}
$(
        mount store "$store" "$STORE_DIR"
        mount objects "$objects" "$OBJECTS_DIR"
        secret_mount etcd-tls "$etcd_tls_secret"
        secret_mount etcd-user "$etcd_user_secret"
    )
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 512Mi}}
        - {name: config, configMap: {name: coredumpd}}
        - {name: tls, secret: {secretName: coredumpd-server-tls}}
$(
        volume store "$store" DirectoryOrCreate
        volume objects "$objects" Directory
        secret_volume etcd-tls "$etcd_tls_secret"
        secret_volume etcd-user "$etcd_user_secret"
    )
---
END
    [ "$replicas" = 1 ] || cat <<END
# Draining nodes leaves one server: an APIService without a server blocks all namespace deletion.
apiVersion: $pdb_api
kind: PodDisruptionBudget
metadata: {name: coredumpd-server, namespace: $namespace}
spec:
  minAvailable: 1
  selector: {matchLabels: {app.kubernetes.io/name: coredumpd-server}}
---
END
}

listed() { # listed TERMS INDENT SED-SCRIPT…: each of the terms, as the first substitution that fits says
    [ -n "$1" ] || return 0
    terms=$1 indent=$2
    shift 2
    script=
    for substitution; do
        script="$script$newline$substitution${newline}t end"
    done
    printf '%s\n' "$terms" | tr , '\n' | sed -E "$script$newline:end${newline}s/^/$indent/"
}

node_expressions() {
    listed "$nodes" '                  - ' \
        's/^!(.*)/{key: \1, operator: DoesNotExist}/' \
        's/^(.*)!=(.*)/{key: \1, operator: NotIn, values: ["\2"]}/' \
        's/^(.*)=(.*)/{key: \1, operator: In, values: ["\2"]}/' \
        's/^(.*)/{key: \1, operator: Exists}/'
}

toleration_list() {
    [ -n "$tolerations" ] || echo '        - {operator: Exists}'
    listed "$tolerations" '        - ' \
        's/^(.*)=(.*):(.*)/{key: \1, operator: Equal, value: "\2", effect: \3}/' \
        's/^(.*)=(.*)/{key: \1, operator: Equal, value: "\2"}/' \
        's/^(.*):(.*)/{key: \1, operator: Exists, effect: \2}/' \
        's/^(.*)/{key: \1, operator: Exists}/'
}

agent_yaml() {
    cat <<END
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: coredumpd-agent
  namespace: $namespace
  labels: {app.kubernetes.io/name: coredumpd-agent, app.kubernetes.io/part-of: coredumpd}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: coredumpd-agent}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: $max_unavailable}}
  template:
    metadata:
      labels: {app.kubernetes.io/name: coredumpd-agent, app.kubernetes.io/part-of: coredumpd}
      annotations:
        checksum/config: "$(config | digest)"
    spec:
      serviceAccountName: coredumpd-agent
      automountServiceAccountToken: false # the shipper mounts one, the guard has none
      priorityClassName: system-node-critical
      nodeSelector: {kubernetes.io/os: linux}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions: # virtual nodes have no kernel of their own, and run no agent
                  - {key: eks.amazonaws.com/compute-type, operator: NotIn, values: [fargate]}
                  - {key: type, operator: NotIn, values: [virtual-kubelet, kwok]}
                  - {key: node.kubernetes.io/instance-type, operator: NotIn, values: [eklet]}
$(node_expressions)
      tolerations:
$(toleration_list)
      hostPID: true # which handlers still run, which have died; of whom the kernel's connector tells
      terminationGracePeriodSeconds: 30
      containers:
        # The privileged half: no credentials, and it leaves the pod's network as it starts.
        - name: guard
          image: $image
          imagePullPolicy: $pull_policy
          args: [agent, guard, --config, /etc/coredumpd/config/config.yaml]
          env:
            - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
          securityContext:
            privileged: true # core_pattern; the listener starts in the host's namespaces
            runAsUser: 0
            readOnlyRootFilesystem: true
          resources:
            requests: {cpu: 5m, memory: 48Mi}
            limits: {memory: 192Mi}
          volumeMounts:
            - {name: tmp-guard, mountPath: /tmp} # the executable unpacks itself here
            - {name: config, mountPath: /etc/coredumpd/config, readOnly: true}
            - {name: host, mountPath: $host_dir} # the same path as on the node
        # The half with network and credentials: no capability.
        - name: shipper
          image: $image
          imagePullPolicy: $pull_policy
          args: [agent, ship, --config, /etc/coredumpd/config/config.yaml]
$(store_environment)
          env:
            - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
          securityContext:
            runAsUser: 0 # the spool is root's; without a capability that is all it means
            runAsGroup: $NONROOT # what it stores, the server may read and delete by its group
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
            seccompProfile: {type: RuntimeDefault}
          ports:
            - {name: metrics, containerPort: 9090, protocol: TCP}
            - {name: probes, containerPort: 9091, protocol: TCP}
          livenessProbe:
            httpGet: {path: /livez, port: probes}
            initialDelaySeconds: 60 # the executable unpacks itself, another shipper may still leave
            timeoutSeconds: 10
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /healthz, port: probes}
            timeoutSeconds: 5
            periodSeconds: 5
          resources:
            requests: {cpu: 10m, memory: 96Mi}
            limits: {memory: 256Mi}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            - {name: config, mountPath: /etc/coredumpd/config, readOnly: true}
            - {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
            # Neither the handler that the kernel runs, nor the policy that it obeys.
            - {name: spool, mountPath: $host_dir/spool}
            - {name: shipper, mountPath: $host_dir/shipper}
            - {name: guard, mountPath: $host_dir/guard, readOnly: true}
$(mount store "$agent_store" "$STORE_DIR")
      volumes:
        - {name: tmp-guard, emptyDir: {sizeLimit: 512Mi}}
        - {name: tmp, emptyDir: {sizeLimit: 512Mi}}
        - {name: config, configMap: {name: coredumpd}}
        - name: token
          projected:
            sources:
              - serviceAccountToken: {path: token, expirationSeconds: 3607}
              - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
              - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
        - {name: host, hostPath: {path: $host_dir, type: DirectoryOrCreate}}
        - {name: spool, hostPath: {path: $host_dir/spool, type: DirectoryOrCreate}}
        - {name: shipper, hostPath: {path: $host_dir/shipper, type: DirectoryOrCreate}}
        - {name: guard, hostPath: {path: $host_dir/guard, type: DirectoryOrCreate}}
$(volume store "$agent_store" DirectoryOrCreate)
END
}

part=$out/coredumpd.yaml.part
{
    namespace_yaml
    rbac_yaml
    config_yaml
    claim_yaml
    network_yaml
    server_yaml
    agent_yaml
} | sed '/^$/d' >"$part"
mv "$part" "$out/coredumpd.yaml"
echo "$out/coredumpd.yaml: apply it with: kubectl apply -f $out/coredumpd.yaml"
openssl x509 -in "$pki/tls.crt" -noout -enddate |
    sed 's/notAfter=/the certificate is good until /; s/$/; run this again before that/'
