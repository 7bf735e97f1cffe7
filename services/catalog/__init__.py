"""The catalog: actors, tokens and scripts."""
