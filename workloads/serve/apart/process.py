"""`python -m workloads.serve.apart.process N`: reads requests that come over socket N, until it is closed.

Started by pool.py. Niced, because whoever sends little should not wait for whoever sends much; its memory is bounded,
because it is where a stranger's bytes become objects.
"""

import gc
import io
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import orjson

from workloads.pod.slices import ask_for_short_slices
from workloads.serve.apart.wire import LENGTHS, Job, codec_of, describe, job_of, trouble
from workloads.serve.errors import EngineFailed, RequestError, TooLarge
from workloads.serve.http import Request
from workloads.serve.protocol.content_encoding import coding_of, inflated
from workloads.serve.rest.inference import Codec
from workloads.serve.rest.rows import asked_rows

NICE = 10
# Of memory, in multiples of the largest body. Most is never touched: the parser reserves twelve for any document.
BODIES = 18
SPARE = 64 << 20


def main() -> None:
    """Read requests until the server is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server says when it ends
    os.nice(NICE)
    ask_for_short_slices()
    gc.disable()  # numbers and texts have no cycles
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rb") as stream:
        setup = _frame(stream)
        if setup is None:
            return
        codec = codec_of(setup[0])
        _bound_memory(BODIES * codec.max_body_size + SPARE)
        while (frame := _frame(stream)) is not None:
            said, parts = _answer(codec, job_of(*frame))
            del frame
            head = orjson.dumps(said)
            connection.sendall(LENGTHS.pack(len(head), sum(len(part) for part in parts)) + head)
            for part in parts:
                connection.sendall(part)
            del parts, said


def _frame(stream: io.BufferedReader) -> "tuple[Any, bytes] | None":
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head, body = LENGTHS.unpack(lengths)
    return orjson.loads(stream.read(head)), stream.read(body)


def _answer(codec: Codec, job: Job) -> "tuple[dict[str, Any], list[memoryview]]":
    try:
        return _read(codec, job)
    except RequestError as error:
        return trouble(error), []
    except MemoryError:
        return trouble(TooLarge("reading this request takes more memory than this server has for one")), []
    except Exception as error:
        # The server logs it, and goes on with this process.
        return trouble(EngineFailed(f"{type(error).__name__}: {error}")), []


def _read(codec: Codec, job: Job) -> "tuple[dict[str, Any], list[memoryview]]":
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


def _bound_memory(more: int) -> None:
    """Limit the process's data memory to `more` bytes beside what it has now."""
    status = Path("/proc/self/status").read_text()
    now = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (now + more, now + more))


if __name__ == "__main__":
    main()
