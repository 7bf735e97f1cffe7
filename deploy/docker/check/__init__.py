"""Checks the Dockerfiles without a container engine: `make image-check`."""
