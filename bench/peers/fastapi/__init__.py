"""The same product as one FastAPI process, the common design that ours is measured against.

A take is read into memory as a whole; a background task sends it to S3 by boto3 in a thread
pool, writes its progress to PostgreSQL, and posts it to the analysis server; the webhook
stores the result; watchers poll PostgreSQL once a second. So the answer to an upload comes
before anything is durable. Tuned: one PUT for a file smaller than a part, one S3 client, one
HTTP client, one thread pool with as many threads as database connections, uvloop and httptools,
no access log, no echo of statements.
"""
