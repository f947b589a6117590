"""What computes windows: Flink, the primary, and Dask, the fallback."""
