"""What every service runs on: server, settings, errors, logs, database, object store."""
