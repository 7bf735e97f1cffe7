"""Analyses: jobs, their dispatch to the analysis server, its reports, their watchers."""
