"""What `hack/bootstrap.py` is made of: standard library only, as it runs before anything is installed."""
