"""Pods that tell figures: the server's real /metrics, fed by a test, on addresses that the operator can reach."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import numpy as np

from slipway.inferenceservice.service import HTTP_PORT
from tests.api.stage import PATIENCE
from workloads.serve.datatypes import Datatype
from workloads.serve.generation.metrics import GenerationMetrics
from workloads.serve.signature import Signature, Tensor
from workloads.serve.telemetry.metrics import Metrics
from workloads.serve.telemetry.output_distribution import Sketch

SIGNATURE = Signature((Tensor("x", Datatype.FP32, ("batch", 4)),), (Tensor("scores", Datatype.FP32, ("batch", 3)),))


class Figures:
    """One address on which any number of pods may lie; all of them tell the same."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.metrics = Metrics()
        self.metrics.sketch = Sketch(SIGNATURE)
        self.tokens = GenerationMetrics("m")
        self.metrics.add(self.tokens)
        self.model: dict[str, Any] = {}
        self.asked = 0
        self._heard = threading.Condition()
        self._lock = threading.Lock()
        figures = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with figures._heard:
                    figures.asked += 1
                    figures._heard.notify_all()
                with figures._lock:
                    body = figures.metrics.text() if self.path == "/metrics" else json.dumps(figures.model).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((address, HTTP_PORT), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def until_asked(self, times: int, seconds: float = 60) -> None:
        """Wait until it was asked for so many more times."""
        with self._heard:
            last = self.asked + times
            assert self._heard.wait_for(lambda: self.asked >= last, seconds * PATIENCE), "nobody asks"

    def serve(
        self,
        requests: int,
        seconds: float = 0.01,
        errors: int = 0,
        scores: tuple[float, ...] = (1, 0, 0),
        first: float = 0.001,
    ) -> None:
        """So many requests were answered, each in so many seconds, and so many more failed."""
        with self._lock:
            for _ in range(requests):
                self.tokens.first_token.observe(first)
                self.metrics.answered(seconds)
                self.metrics.inferred("infer", "answered")
            for _ in range(errors):
                self.metrics.inferred("infer", "failed")
            assert self.metrics.sketch is not None
            self.metrics.sketch._next = 0.0
            self.metrics.sketch.see([np.tile(np.array(scores, np.float32), (requests, 1))])


class Traffic:
    """Requests that keep coming to several figures until the end of the block."""

    def __init__(self, *streams: tuple[Figures, dict[str, Any]]) -> None:
        self._streams = streams
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(0.1):
            for figures, what in self._streams:
                figures.serve(**what)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
