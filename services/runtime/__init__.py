"""The platform of every service: server, settings, errors, logs, database, object store."""
