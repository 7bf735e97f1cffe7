"""The reference analyzer: an HTTP server that scores how close a take is to its reference."""
