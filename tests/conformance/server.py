"""A real server process for tests, and a plain HTTP client that hides nothing."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
READY = re.compile(r"ready: http://[^:]+:(\d+)/v2/models/(\S+)")
GRPC = re.compile(r"gRPC on port (\d+)")


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self):
        return orjson.loads(self.body)


class Server:
    """`python -m workloads serve` on ports of the system's choice, with its log in a file."""

    ready = READY

    def __init__(
        self, log: Path, *arguments: str, env: Mapping[str, str] | None = None, seconds: float | None = None
    ) -> None:
        """`seconds` that it may take until it is ready, START_SECONDS when unset."""
        self.log, self._seconds = log, seconds or START_SECONDS
        command = [sys.executable, "-m", "workloads", "serve", "--host", "127.0.0.1", "--port", "0", "--grpc-port", "0"]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", **(env or {})}
        with log.open("wb") as sink:
            self.process = subprocess.Popen([*command, *arguments], stderr=sink, stdout=sink, env=environment, cwd="/")
        self.port = self.grpc_port = 0
        self.name = ""

    def wait(self) -> Self:
        """Until it is ready. RuntimeError with its log when it ends before."""
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            text = self.log.read_text()
            ready, grpc = self.ready.search(text), GRPC.search(text)
            if ready and (grpc or self.ready is not READY):
                self.port, self.name, self.grpc_port = int(ready[1]), ready[2], int(grpc[1]) if grpc else 0
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"the server did not get ready:\n{self.log.read_text()}")

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def infer(self, document, binary: bytes = b"", headers: Mapping[str, str] | None = None, path: str = "") -> Answer:
        """`document` as JSON, or bytes as they are; `binary` behind it with the header's length."""
        head = document if isinstance(document, bytes) else json.dumps(document).encode()
        extra = dict(headers or {})
        if binary:
            extra.setdefault("Inference-Header-Content-Length", str(len(head)))
        return self.ask("POST", path or f"/v2/models/{self.name}/infer", head + binary, extra)

    def stop(self, seconds: float = 30) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        return self.process.wait()
