"""The catalog service: actors, tokens and scripts."""
