"""`python -m workloads.serve.apart.process N`: reads requests that come over socket N, until it is closed.

Started by pool.py. Its memory is bounded, because it is where a stranger's bytes become objects.
"""

import sys
from collections.abc import Callable
from typing import Any

from workloads.serve.apart.child import Answer, answer_all, bound_memory
from workloads.serve.apart.wire import Job, codec_of, describe
from workloads.serve.http import Request
from workloads.serve.protocol.content_encoding import coding_of, inflated
from workloads.serve.rest.inference import Codec
from workloads.serve.rest.rows import asked_rows

NICE = 10
# Of memory, in multiples of the largest body. Most is never touched: the parser reserves twelve for any document.
BODIES = 18
SPARE = 64 << 20


def begin(setup: Any) -> Callable[[Job], Answer]:
    """Reader of requests for the model that the setup describes."""
    codec = codec_of(setup)
    bound_memory(BODIES * codec.max_body_size + SPARE)
    return lambda job: _read(codec, job)


def _read(codec: Codec, job: Job) -> Answer:
    body = bytes(job.parts[0])
    if job.kind == "grpc":
        from workloads.serve.protocol.grpc_tensors import GrpcCodec

        grpc = GrpcCodec(codec.signature, codec.name, codec.version, codec.nonfinite, codec.most_rows)
        return describe(grpc.read(body), codec.signature)
    request = Request(b"POST", b"", dict(job.headers), body)
    if job.kind == "inflate":
        return {}, [memoryview(inflated(body, coding_of(request), codec.max_body_size))]
    if job.kind == "rows":
        return describe(asked_rows(codec.signature, body, codec.most_rows), codec.signature)
    return describe(codec.decode(request), codec.signature)


if __name__ == "__main__":
    answer_all(int(sys.argv[1]), NICE, begin)
