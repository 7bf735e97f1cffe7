"""The services of the suite, one package each, and the runtime they share."""
