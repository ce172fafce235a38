"""Starts the peers that are there, and ends them with everything they started (LitServe leaves its workers behind)."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.ports import free_port

START_SECONDS = 120
V2 = b'{"inputs": [{"name": "x", "shape": [1, %d], "datatype": "FP32", "data": %b}]}'


@dataclass(frozen=True)
class Peer:
    """`body` with the number of elements and the row as JSON, or with the row alone. `binary`: takes that as well."""

    name: str
    path: str
    body: bytes
    binary: bool = False
    package: str = ""  # whose version is told; the name's when empty

    def request(self, row: bytes, length: int) -> bytes:
        return self.body % ((length, row) if b"%d" in self.body else (row,))


PEERS = (
    # uvicorn and a bare ASGI application before our own batcher.
    Peer("bare", "/v2/models/mlp/infer", V2, binary=True, package="uvicorn"),
    Peer("litserve", "/predict", b'{"data": %b}'),
    Peer("fastapi", "/predict", b'{"data": %b}'),
    Peer("kserve", "/v2/models/mlp/infer", V2),
    Peer("mlserver", "/v2/models/mlp/infer", V2),
    Peer("bentoml", "/predict", b'{"x": [%b]}'),
)


def present() -> list[Peer]:
    """Those whose environment is there."""
    return [peer for peer in PEERS if "SLIPWAY_PEERS" in os.environ and python_of(peer).exists()]


def python_of(peer: Peer) -> Path:
    """Interpreter of a peer's environment, which may not be there."""
    return Path(os.environ["SLIPWAY_PEERS"]) / peer.name / "bin" / "python"


def versions() -> dict[str, str]:
    """Versions of the peers that are there, as their packages say."""
    ask = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    commands = {one.name: [str(python_of(one)), "-c", ask, one.package or one.name] for one in present()}
    return {name: subprocess.check_output(command, text=True).strip() for name, command in commands.items()}


@contextmanager
def running(peer: Peer, onnx: Path, row: bytes, length: int, log: Path) -> Iterator[tuple[int, int]]:
    """Port and process id of a peer that answers."""
    port = free_port()
    script = Path(__file__).with_name(f"{peer.name}_peer.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python_of(peer)), str(script), str(onnx), str(port)]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment, start_new_session=True)
    try:
        _wait(process, f"http://127.0.0.1:{port}{peer.path}", peer.request(row, length), log)
        yield port, process.pid
    finally:
        # BentoML's workers have sessions of their own: killing the process group left one behind.
        with suppress(psutil.NoSuchProcess):
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, body: bytes, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with suppress(OSError), urllib.request.urlopen(asked, timeout=5):
            return
        time.sleep(0.2)
    raise RuntimeError(f"{log.stem} does not answer:\n{log.read_text()[-3000:]}")
