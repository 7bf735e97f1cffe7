"""Uploads: a learner's take on its way to S3 and into analysis."""
