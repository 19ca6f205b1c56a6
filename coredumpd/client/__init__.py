"""The commands of a person with a kubeconfig: crashes listed, shown, watched, deleted."""
