"""A whole server in one process with an engine that is as slow or as faulty as a test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np

from workloads.serve.app import App
from workloads.serve.batcher import Limits
from workloads.serve.datatypes import Datatype
from workloads.serve.engines.warmup import WarmUp, sample
from workloads.serve.http import HttpLimits, HttpServer
from workloads.serve.lifecycle import Lifecycle
from workloads.serve.model import Model
from workloads.serve.run import start
from workloads.serve.service import Loaded
from workloads.serve.settings import Settings, TransformChoice
from workloads.serve.signature import Signature, Tensor
from workloads.serve.telemetry.metrics import Metrics
from workloads.serve.transform.workers import Workers

PAIR = Signature((Tensor("x", Datatype.FP32, ("batch", "n")),), (Tensor("y", Datatype.FP32, ("batch", "n")),))
POISON = -1.0


class Doubler:
    """y = 2 x, after `seconds` and when the gate is open; a batch with POISON in it fails; `dead` fails always."""

    name = "doubler"
    details: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.dead = False
        self.batches: list[tuple[int, ...]] = []
        self.firsts: list[float] = []
        self.aligned: list[bool] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, inputs):
        (x,) = inputs
        self.batches.append(x.shape)
        self.firsts.append(float(x[0, 0]))
        self.aligned.append(x.flags.aligned)
        time.sleep(self.seconds)
        self.gate.wait(10)
        if self.dead or (x == POISON).any():
            raise ValueError("cannot compute this")
        with np.errstate(over="ignore"):
            return [x * 2]

    def close(self) -> None: ...


class Serving:
    """A server under test."""

    def __init__(self, app: App, http: HttpServer, port: int, engine: Doubler, client: aiohttp.ClientSession) -> None:
        self.app, self.http, self.port, self.engine, self.client = app, http, port, engine, client
        self.base = f"http://127.0.0.1:{port}"

    async def infer(self, values, **rest) -> tuple[int, dict, dict]:
        data = np.atleast_2d(values).tolist()
        shape = [len(data), len(data[0])]
        document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}], **rest}
        async with self.client.post(f"{self.base}/v2/models/m/infer", json=document) as reply:
            return reply.status, await reply.json(), dict(reply.headers)

    async def get(self, path: str) -> tuple[int, dict]:
        async with self.client.get(self.base + path) as reply:
            return reply.status, await reply.json()


@asynccontextmanager
async def serving(
    seconds: float = 0.0,
    limits: Limits | None = None,
    signature: Signature = PAIR,
    load: bool = True,
    independent: bool = True,
    transform: TransformChoice | None = None,
) -> AsyncIterator[Serving]:
    engine, metrics = Doubler(seconds), Metrics()
    app = App("m", "1", Lifecycle(), metrics)
    http = HttpServer(app, HttpLimits(linger=0.1, sweep=0.05, farewell=0.2), metrics.http_replied)
    port = await http.start("127.0.0.1", 0)
    settings = Settings(model="m", batching=limits or Limits())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        if load:
            model = Model("m", "1", signature, "sha256:0", Path("/"), Path("/m.onnx"), None, None)
            seen = WarmUp({1: seconds}, independent and signature.batched, sample(signature, 1))
            workers = None
            if transform is not None:
                longest, waiting = settings.batching.default_timeout, settings.batching.max_queue_size
                workers = Workers(transform, longest, settings.http.max_body_size, waiting)
                await workers.start()
            start(app, Loaded(model, [engine], seen, []), settings, metrics, workers)
        yield Serving(app, http, port, engine, client)
    await http.finish(1)
    if app.service is not None:
        await app.service.batcher.drained()
        await app.service.close()
    await app.close()
