"""The other end of a ProcessLane: a process that answers one job after the other, until its socket is closed.

Niced, because whoever sends little should not wait for whoever sends much.
"""

import gc
import io
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from workloads.pod.slices import ask_for_long_slices
from workloads.serve.apart.wire import LENGTHS, Job, job_of, trouble
from workloads.serve.errors import EngineFailed, RequestError, TooLarge

Answer = tuple[dict[str, Any], Sequence[memoryview]]


def answer_all(number: int, nice: int, begin: Callable[[Any], Callable[[Job], Answer]]) -> None:
    """Answer what comes over socket `number`. `begin` makes of the setup what answers a job."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # the server says when it ends
    os.nice(nice)
    ask_for_long_slices()
    gc.disable()  # numbers, texts and pictures have no cycles
    with socket.socket(fileno=number) as connection, connection.makefile("rb") as stream:
        setup = _frame(stream)
        if setup is None:
            return
        work = begin(setup[0])
        while (frame := _frame(stream)) is not None:
            said, parts = _answered(work, job_of(*frame))
            del frame
            head = orjson.dumps(said)
            connection.sendall(LENGTHS.pack(len(head), sum(len(part) for part in parts)) + head)
            for part in parts:
                connection.sendall(part)
            del parts, said


def bound_memory(more: int) -> None:
    """Limit the process's data memory to `more` bytes beside what it has now."""
    status = Path("/proc/self/status").read_text()
    now = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (now + more, now + more))


def _frame(stream: io.BufferedReader) -> "tuple[Any, bytes] | None":
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head, body = LENGTHS.unpack(lengths)
    return orjson.loads(stream.read(head)), stream.read(body)


def _answered(work: Callable[[Job], Answer], job: Job) -> Answer:
    try:
        return work(job)
    except RequestError as error:
        return trouble(error), []
    except MemoryError:
        return trouble(TooLarge("reading this request takes more memory than this server has for one")), []
    except Exception as error:
        # The server logs it, and goes on with this process.
        return trouble(EngineFailed(f"{type(error).__name__}: {error}")), []
