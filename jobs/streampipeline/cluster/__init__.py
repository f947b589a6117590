"""The command line's side of a cluster: what a user sees of StreamPipelines there, and asks of them."""
