"""What the end-to-end tests share: the cluster under test, kubectl, pods that crash."""
