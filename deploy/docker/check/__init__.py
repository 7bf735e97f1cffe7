"""Proof that the Dockerfiles work, where there is no container engine: `make image-check`."""
