#!/bin/sh
# Does an installation of coredumpd work? Crashes programs in pods of two new namespaces, downloads
# their cores as a tenant would, checks them and cleans up. `--help` says more.
set -eu

usage() {
    cat <<'END'
usage: tests/run-test.sh [--help]

Checks the coredumpd that is deployed in the cluster of the current kubectl context. Needs a user
who may create namespaces and impersonate service accounts, and kubectl, tar and od.

Makes two namespaces with a Deployment each, whose two containers crash in two ways, and as a tenant
of one namespace only: creates a CoredumpEndpoint, downloads every container's cores, is refused in
the other namespace; then deletes the pods and downloads once more by uid. Everything is removed.

Environment:
  KUBECTL                kubectl to use, with options if need be  (kubectl)
  RUN_TEST_IMAGE         image of both containers; needs a shell  (busybox:1.36)
  RUN_TEST_IMAGE_ABORT   image of the container that aborts       (RUN_TEST_IMAGE)
  RUN_TEST_IMAGE_SEGV    image of the container that segfaults    (RUN_TEST_IMAGE)
  RUN_TEST_PULL_POLICY   its imagePullPolicy                      (IfNotPresent)
  RUN_TEST_TIMEOUT       seconds that any one wait may take       (120)

Exit status: 0 all good, 1 a check failed (its name is the last line), 2 wrong usage.
END
}

case ${1:-} in
--help | -h)
    usage
    exit 0
    ;;
'') ;;
*)
    echo "run-test.sh: '$1' is not an argument; see --help" >&2
    exit 2
    ;;
esac

KUBECTL=${KUBECTL:-kubectl}
image=${RUN_TEST_IMAGE:-busybox:1.36}
image_abort=${RUN_TEST_IMAGE_ABORT:-$image}
image_segv=${RUN_TEST_IMAGE_SEGV:-$image}
pull_policy=${RUN_TEST_PULL_POLICY:-IfNotPresent}
timeout=${RUN_TEST_TIMEOUT:-120}
case $timeout in
*[!0-9]* | '')
    echo "run-test.sh: RUN_TEST_TIMEOUT: '$timeout': must be a whole number of seconds" >&2
    exit 2
    ;;
esac

here=$(cd "$(dirname "$0")" && pwd)
api=/apis/coredump.fujitsu.com/v1alpha1
run=$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
mine=coredumpd-test-$run-mine
other=coredumpd-test-$run-other
work=$(mktemp -d)

k() {
    # shellcheck disable=SC2086  # KUBECTL may carry options
    $KUBECTL "$@"
}
tenant() { # kubectl as a service account with rights in namespace $mine only
    k --as="system:serviceaccount:$mine:tenant" "$@"
}
step() {
    echo "--- $*"
}
fail() {
    echo "run-test.sh: FAILED: $*" >&2
    exit 1
}
cleanup() {
    code=$?
    trap - EXIT
    step "cleaning up"
    k delete namespace "$mine" "$other" --ignore-not-found --wait=true --timeout="${timeout}s" ||
        echo "run-test.sh: namespaces $mine and $other are still being deleted" >&2
    rm -rf "$work"
    [ $code -ne 0 ] || echo "run-test.sh: all good"
    exit $code
}
trap cleanup EXIT
trap 'exit 1' INT TERM

wait_for() { # wait_for WHAT COMMAND...: until the command succeeds
    what=$1
    shift
    left=$timeout
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "waited $timeout s for $what"
        sleep 1
    done
}

# Two containers whose child crashes once, each in its own way. (Kubernetes makes $ of $$.)
deployment() { # deployment NAMESPACE
    cat <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: crasher, namespace: $1}
spec:
  selector: {matchLabels: {app: crasher}}
  template:
    metadata: {labels: {app: crasher}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: aborts
          image: $image_abort
          imagePullPolicy: $pull_policy
          command: [/bin/sh, -c, "sh -c 'kill -ABRT \$\$\$\$'; while :; do sleep 3600; done"]
        - name: segfaults
          image: $image_segv
          imagePullPolicy: $pull_policy
          command: [/bin/sh, -c, "sh -c 'kill -SEGV \$\$\$\$'; while :; do sleep 3600; done"]
END
}

endpoint() { # endpoint NAMESPACE POD UID: the template, filled in; UID may be empty
    sed -e "s/__NAMESPACE__/$1/g" -e "s/__NAME__/$2/g" ${3:+-e "s/__UID__/$3/g"} \
        "$here/coredumpendpoint_template.yaml"
}

dump_path() { # dump_path NAMESPACE POD CONTAINER
    echo "$api/namespaces/$1/coredumpendpoints/$2/dump?container=$3"
}

has_dumps() { # has_dumps NAMESPACE POD COUNT: have that many arrived?
    found=$(k get coredumpendpoints.coredump.fujitsu.com "$2" -n "$1" -o 'jsonpath={.status.dumps}')
    [ "${found:-0}" -ge "$3" ]
}

check_archive() { # check_archive FILE NAMESPACE POD CONTAINER SIGNAL
    rm -rf "$work/files"
    mkdir "$work/files"
    tar -xzf "$1" -C "$work/files" || fail "$1 is not a whole .tar.gz"
    set -- "$@" "$work/files/$4"
    core=$(find "$6" -name core -type f | head -n 1)
    [ -n "$core" ] || fail "the archive of $2/$3 has no core of container $4"
    [ "$(od -An -c -N4 "$core" | tr -d ' \n')" = '177ELF' ] || fail "$core is not an ELF file"
    meta=$(dirname "$core")/meta.json
    for word in "\"namespace\": \"$2\"" "\"podName\": \"$3\"" "\"container\": \"$4\"" "\"name\": \"$5\""; do
        grep -q -- "$word" "$meta" || fail "$meta of $2/$3 container $4 does not say $word: $(cat "$meta")"
    done
    echo "$2/$3 $4: $5, $(wc -c <"$core") bytes"
}

step "the API is available"
wait_for "the APIService" k wait --for=condition=Available --timeout=5s \
    apiservice/v1alpha1.coredump.fujitsu.com
k get --raw "$api" >/dev/null || fail "$api does not answer"

step "two namespaces, a Deployment of two crashing containers in each"
for namespace in "$mine" "$other"; do
    k create namespace "$namespace"
    deployment "$namespace" | k apply -f -
done
k create serviceaccount tenant -n "$mine"
k create rolebinding tenant -n "$mine" --clusterrole=edit --serviceaccount="$mine:tenant"
for namespace in "$mine" "$other"; do
    k rollout status deployment/crasher -n "$namespace" --timeout="${timeout}s"
done

step "what the tenant may do"
for verb in get list watch create delete; do
    tenant auth can-i "$verb" coredumpendpoints.coredump.fujitsu.com -n "$mine" >/dev/null ||
        fail "the role edit does not let a tenant $verb coredumpendpoints"
    if tenant auth can-i "$verb" coredumpendpoints.coredump.fujitsu.com -n "$other" >/dev/null; then
        fail "a tenant of $mine may $verb coredumpendpoints in $other"
    fi
done

for namespace in "$mine" "$other"; do
    step "an endpoint for the pod in $namespace, and its cores"
    pod=$(k get pods -n "$namespace" -l app=crasher -o 'jsonpath={.items[0].metadata.name}')
    [ "$namespace" = "$mine" ] && as=tenant || as=k
    endpoint "$namespace" "$pod" '' | $as create -f -
    wait_for "both dumps of $namespace/$pod" has_dumps "$namespace" "$pod" 2
    for pair in aborts:SIGABRT segfaults:SIGSEGV; do
        container=${pair%%:*}
        $as get --raw="$(dump_path "$namespace" "$pod" "$container")" >"$work/$container.tar.gz" ||
            fail "the download of $namespace/$pod $container"
        check_archive "$work/$container.tar.gz" "$namespace" "$pod" "$container" "${pair##*:}"
    done
    [ "$namespace" = "$mine" ] && mine_pod=$pod || other_pod=$pod
done

step "what the tenant may not do"
if tenant get --raw="$(dump_path "$other" "$other_pod" aborts)" >"$work/stolen" 2>"$work/refusal"; then
    fail "a tenant of $mine downloaded from $other"
fi
grep -qi forbidden "$work/refusal" || fail "the refusal says: $(cat "$work/refusal")"
if tenant get --raw="$(dump_path "$mine" "$mine_pod" no-such-container)" >/dev/null 2>"$work/refusal"; then
    fail "a container that does not exist has a download"
fi
echo "refused"

step "the pod is deleted; its cores are downloaded by its uid"
uid=$(k get pod "$mine_pod" -n "$mine" -o 'jsonpath={.metadata.uid}')
tenant get --raw="$(dump_path "$mine" "$mine_pod" aborts)" >"$work/before.tar.gz"
tenant delete coredumpendpoints.coredump.fujitsu.com "$mine_pod" -n "$mine"
tenant delete deployment crasher -n "$mine" --wait=true
k wait --for=delete "pod/$mine_pod" -n "$mine" --timeout="${timeout}s" 2>/dev/null ||
    ! k get pod "$mine_pod" -n "$mine" 2>/dev/null || fail "pod $mine_pod does not go away"
endpoint "$mine" "$mine_pod" "$uid" | tenant create -f -
tenant get --raw="$(dump_path "$mine" "$mine_pod" aborts)" >"$work/after.tar.gz"
cmp "$work/before.tar.gz" "$work/after.tar.gz" || fail "the archive changed when the pod was deleted"
check_archive "$work/after.tar.gz" "$mine" "$mine_pod" aborts SIGABRT
