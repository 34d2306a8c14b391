"""The stores: bytes and an absolute expiry, nothing else."""
