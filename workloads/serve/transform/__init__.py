"""Own code before and after the model, in worker processes: what it does there ends one request and no other.

Spawned and never forked: the callable's libraries, threads and crashes are not the server's. Nothing is pickled,
because the server believes nothing that comes back.
"""
