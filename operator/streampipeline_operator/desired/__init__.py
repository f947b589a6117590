"""Pure: a pipeline in, the Kubernetes objects that it is made of out."""
