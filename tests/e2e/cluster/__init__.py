"""A real single-node Kubernetes on this machine: etcd, the control plane, containerd, a kubelet.

    assets     where the binaries are and which release they speak
    slot       what one cluster on this machine may call its own: bridge, addresses, cgroup
    daemons    start, find again and stop processes, by pid
    control    etcd, kube-apiserver, kube-controller-manager, kube-scheduler
    node       bridge, CNI, containerd, kubelet
    leftovers  undo all of it, from the state directory alone, whatever happened before
    single     the cluster: up, down, a context manager

Everything lives in one directory; `python -m tests.e2e.cluster up --dir DIR` for people.
Needs root. No kube-proxy: kube-apiserver listens at the very address of its own Service.
"""
