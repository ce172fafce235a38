"""What one hostile client costs a polite one, and the server's memory: `python -m tests.perf.serving.stall_bench [--out
FILE]`.

The polite client sends a small request every few milliseconds, alone and beside each hostile one
(tests/hostile/stalls.py) by turns, so that a machine that is busy for a while slows both. Memory is that of the server
and its processes, the most that was seen; its bound is what it holds at rest and the bytes that requests may hold, plus
a fifth.

Latency by the clock says little where others want the same cores, so the work that stood before each request is
measured as well: CPU time that the server's loop has spent between a question and its answer.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from onnx import TensorProto
from PIL import Image

from tests.conformance.clients.inputs import JSON, SMALL, document
from tests.conformance.server import Server
from tests.perf import machine
from tests.unit.serve.artifacts import small_cnn
from tests.unit.serve.onnx_models import identity
from workloads.serve.http.server import HttpLimits

PAUSE = 0.005
LATE = 180.0  # seconds for its start, and for the machine
ATTACKS = {
    "tensors": ("brackets", "objects", "texts", "honest", "stalled", "grpc"),
    "pictures": ("picture 1460", "picture 4000", "picture 8000"),
}
ALLOWED_TIMES, ALLOWED_MEMORY = 2.0, 1.2
BUFFERED_MIB = HttpLimits().max_buffered >> 20


class Polite:
    """Its request, for either model."""

    def __init__(self, server: Server, what: str) -> None:
        self._server = server
        if what == "pictures":
            stream = io.BytesIO()
            Image.new("RGB", (300, 300), "red").save(stream, "PNG")
            self._ask = ("/predict", stream.getvalue(), {"Content-Type": "image/png"})
        else:
            kind, _, value = JSON.partition(": ")
            self._ask = (f"/v2/models/{server.name}/infer", document(SMALL), {kind: value})

    def _spent(self) -> float:
        """Seconds of CPU that the server's loop has had: the first thread's."""
        pid = self._server.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9

    def seconds(self, seconds: float) -> tuple[list[float], list[float]]:
        """Of each of its requests, one after the other, by the clock and by the loop's CPU time. AssertionError for any
        that is not answered.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        path, content, headers = self._ask
        times, work, until = [], [], time.monotonic() + seconds
        while time.monotonic() < until:
            started, before = time.perf_counter(), self._spent()
            connection.request("POST", path, content, headers)
            reply = connection.getresponse()
            said = reply.read()
            times.append(time.perf_counter() - started)
            work.append(self._spent() - before)
            assert reply.status == 200, said
            time.sleep(PAUSE)
        connection.close()
        return times, work


def resident(pid: int) -> float:
    """MiB of a process and those that it started. What they share is counted once."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += one.memory_full_info().pss
    return total / (1 << 20)


class Most:
    """The most memory that was seen, by looks ten times a second."""

    def __init__(self, pid: int) -> None:
        self.mib, self._pid, self._over = 0.0, pid, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.mib = max(self.mib, resident(self._pid))

    def __enter__(self) -> Most:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def hostile(server: Server, kind: str, seconds: float, answers: dict[str, int]) -> Iterator[None]:
    """Beside it, from when it has begun; `answers` are those that it got."""
    command = [sys.executable, "-m", "tests.hostile.stalls", kind, str(server.port), str(server.grpc_port), server.name]
    process = subprocess.Popen([*command, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    # Where it gets no turn at all, nobody waits for its figures.
    late = threading.Timer(seconds + LATE, process.kill)
    late.start()
    try:
        assert process.stdout.readline() == "begun\n"
        yield
        said = process.stdout.readline()
        for name, count in json.loads(said or "{}").items():
            answers[name] = answers.get(name, 0) + count
    finally:
        late.cancel()
        process.kill()
        process.wait()


def p99(times: list[float]) -> float:
    """In milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]


def both(polite: Polite, seconds: float) -> tuple[float, float]:
    """p99 by the clock and by the loop's CPU time, in milliseconds."""
    times, work = polite.seconds(seconds)
    return round(p99(times), 2), round(p99(work), 3)


def _medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    clock, work = zip(*rounds, strict=True)
    return statistics.median(clock), statistics.median(work)


def row(server: Server, polite: Polite, kind: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Alone and beside this one, by turns."""
    alone: list[tuple[float, float]] = []
    beside: list[tuple[float, float]] = []
    answers: dict[str, int] = {}
    rest, most, load = resident(server.process.pid), 0.0, machine.load()
    for _ in range(rounds):
        alone.append(both(polite, seconds))
        with Most(server.process.pid) as seen, hostile(server, kind, seconds + 1.5, answers):
            time.sleep(1)
            beside.append(both(polite, seconds))
        most = max(most, seen.mib)
        time.sleep(1)
    (clock, work), (clock_beside, work_beside) = _medians(alone), _medians(beside)
    return {
        "p99 ms alone": round(clock, 2),
        "p99 ms beside": round(clock_beside, 2),
        "times": round(clock_beside / clock, 2),
        "CPU p99 ms alone": round(work, 2),
        "CPU p99 ms beside": round(work_beside, 2),
        "rounds": {"alone": alone, "beside": beside},
        "answers": answers,
        "MiB at rest": round(rest),
        "MiB at most": round(most),
        "MiB allowed": round(ALLOWED_MEMORY * (rest + BUFFERED_MIB)),
        "load": load,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.serving.stall_bench")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="kinds of hostile clients")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    about, rows = {**machine.describe(), "load": machine.load()}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        same = identity(folder / "same.onnx", TensorProto.FLOAT)
        models = {"tensors": same, "pictures": small_cnn(folder / "cnn")[0]}
        for what, kinds in ATTACKS.items():
            server = Server(folder / f"{what}.log", "--model", str(models[what])).wait()
            try:
                polite = Polite(server, what)
                polite.seconds(2)
                for kind in kinds:
                    if not options.only or kind in options.only:
                        rows[kind] = row(server, polite, kind, options.rounds, options.seconds)
                        print(kind, json.dumps(rows[kind]), flush=True)
                        if options.out is not None:
                            report = {"machine": about, "buffered MiB": BUFFERED_MIB, "rows": rows}
                            options.out.write_text(json.dumps(report, indent=1) + "\n")
            finally:
                server.stop()
    held = (one["times"] <= ALLOWED_TIMES and one["MiB at most"] <= one["MiB allowed"] for one in rows.values())
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
