"""The gateway: Envoy, which transcodes HTTP and JSON to gRPC and protects the services."""
