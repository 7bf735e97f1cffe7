"""The local stack: PostgreSQL, SeaweedFS, the services and Envoy, installed from wheels.

This file imports nothing, so that the mail sink needs a third of the memory.
"""
