"""A cluster of our own with the product on it: for the demo and the end-to-end tests."""
