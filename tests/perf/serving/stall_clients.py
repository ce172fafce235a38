"""Clients of the stall bench: a polite one, over HTTP or gRPC, and a busy neighbour that asks nothing of the server."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from PIL import Image

from tests.conformance.clients.inputs import JSON, SMALL, document
from tests.conformance.server import Server
from workloads.pod.slices import ask_for_short_slices
from workloads.serve.protocol import open_inference_pb2 as pb

PAUSE = 0.005
Ask = Callable[[], None]


@dataclass
class Seen:
    """Seconds of each request: wall time, CPU of the server's loop, and time that loop and client wait for a core."""

    clock: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)


class Polite:
    """Polite client: small requests one after the other, of tensors, pictures, calls (gRPC) or watches (its health)."""

    def __init__(self, server: Server, what: str) -> None:
        self._server = server
        self._what = what

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Ask]:
        """Sends one request. AssertionError for any that is not answered."""
        if self._what in {"calls", "watches"}:
            with grpc.insecure_channel(f"127.0.0.1:{self._server.grpc_port}") as channel:
                yield self._call(channel)
            return
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        path, content, headers = self._request()

        def ask() -> None:
            connection.request("POST", path, content, headers)
            reply = connection.getresponse()
            said = reply.read()
            assert reply.status == 200, said

        yield ask
        connection.close()

    def _call(self, channel: grpc.Channel) -> Ask:
        if self._what == "watches":
            check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
            return lambda: check(b"", timeout=60) and None
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
        message = pb.ModelInferRequest(
            model_name=self._server.name, inputs=[tensor], raw_input_contents=[bytes(16)]
        ).SerializeToString()
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
        return lambda: infer(message, timeout=60) and None

    def _request(self) -> tuple[str, bytes, dict[str, str]]:
        if self._what == "pictures":
            stream = io.BytesIO()
            Image.new("RGB", (300, 300), "red").save(stream, "PNG")
            return "/predict", stream.getvalue(), {"Content-Type": "image/png"}
        kind, _, value = JSON.partition(": ")
        return f"/v2/models/{self._server.name}/infer", document(SMALL), {kind: value}

    def _spent(self) -> tuple[float, float]:
        """CPU that the server's loop, its first thread, has had; and for how long it and this thread had none."""
        pid = self._server.process.pid
        run, wait = _schedule(Path(f"/proc/{pid}/task/{pid}/schedstat"))
        return run, wait + _schedule(Path("/proc/thread-self/schedstat"))[1]

    def seconds(self, seconds: float) -> Seen:
        """Ask for so long."""
        seen, until = Seen(), time.monotonic() + seconds
        ask_for_short_slices()  # on a cluster it has a core of its own
        with self._asking() as ask:
            ask()
            while time.monotonic() < until:
                started, (work, cores) = time.perf_counter(), self._spent()
                ask()
                seen.clock.append(time.perf_counter() - started)
                after = self._spent()
                seen.work.append(after[0] - work)
                seen.cores.append(after[1] - cores)
                time.sleep(PAUSE)
        return seen


def _schedule(file: Path) -> tuple[float, float]:
    run, wait, _ = file.read_text().split()
    return int(run) / 1e9, int(wait) / 1e9


def resident(pid: int) -> float:
    """MiB of a process and those that it started. Files that they share are counted once.

    By the kernel's counters: to add up a process's pages it holds up whatever asks for memory meanwhile.
    """
    own, files = 0, 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(OSError, psutil.NoSuchProcess, psutil.AccessDenied):
                lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
                sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
                own += sizes["RssAnon"] + sizes["RssShmem"]
                files = max(files, sizes["RssFile"])
    return (own + files) / 1024


class Most:
    """The most memory that was seen, by looks five times a second."""

    def __init__(self, pid: int) -> None:
        self.mib, self._pid, self._over = 0.0, pid, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.2):
            self.mib = max(self.mib, resident(self._pid))

    def __enter__(self) -> Most:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def neighbour(cores: float) -> Iterator[None]:
    """A process that uses so many cores, at the hostile client's priority, and has nothing to do with the server."""
    command = [sys.executable, "-m", "tests.perf.serving.stall_clients", str(cores)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _burn(cores: float) -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while cores > 1:
        if not os.fork():
            cores = 1.0
            break
        cores -= 1
    print("begun", flush=True)
    # A bench that was killed cannot end it: by then it has another parent.
    parent = os.getppid()
    while os.getppid() == parent:
        started = time.process_time()
        before = time.monotonic()
        while time.process_time() - started < 0.01 * cores:
            pass
        time.sleep(max(0.0, 0.01 - (time.monotonic() - before)))


if __name__ == "__main__":
    _burn(float(sys.argv[1]))
