"""The analysis service: analysis jobs, their dispatches, reports and watchers."""
