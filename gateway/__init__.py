"""The gateway: Envoy, which turns HTTP and JSON into gRPC and guards the services."""
