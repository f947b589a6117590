"""The control plane: runs StreamPipelines on a Kubernetes cluster."""
