"""The sections of the table: each module has `measure(scale)`, which returns its rows."""
