"""Any model behind a real socket, asked in binary; and what its runtime makes of the same inputs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import onnxruntime

from slipway.api.serving.engine import EngineName
from workloads.serve.app import App
from workloads.serve.batcher import Limits
from workloads.serve.datatypes import Datatype
from workloads.serve.http import HttpLimits, HttpServer
from workloads.serve.lifecycle import Lifecycle
from workloads.serve.loading import load_and_warm_up
from workloads.serve.protocol.tensors import from_binary, to_binary
from workloads.serve.run import start
from workloads.serve.settings import Settings
from workloads.serve.telemetry.metrics import Metrics

HEADER = "Inference-Header-Content-Length"


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """A server's own parts on a real socket."""
    settings = Settings(str(path), "m", engine=EngineName.ONNXRUNTIME, threads=1, batching=Limits(max_batch_size=8))
    metrics = Metrics()
    app = App("m", "1", Lifecycle(), metrics)
    http = HttpServer(app, HttpLimits(), metrics.http_replied)
    port = await http.start("127.0.0.1", 0)
    try:
        loaded = await asyncio.to_thread(load_and_warm_up, settings)
        service = start(app, loaded, settings, metrics)
        async with aiohttp.ClientSession() as client:
            yield f"http://127.0.0.1:{port}/v2/models/m", client
        await service.batcher.drained()
        await service.close()
    finally:
        await http.finish(1)


Found = tuple[int, dict[str, np.ndarray], Any]


async def infer(base: str, client: aiohttp.ClientSession, feeds: dict[str, Any]) -> Found:
    """All tensors in binary."""
    inputs, raw = [], b""
    for name, array in feeds.items():
        kind = next(one for one in Datatype if one.dtype == np.asarray(array).dtype)
        data = bytes(to_binary(np.asarray(array), kind))
        raw += data
        about = {"name": name, "datatype": kind.name, "shape": list(np.shape(array))}
        inputs.append({**about, "parameters": {"binary_data_size": len(data)}})
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    async with client.post(f"{base}/infer", data=head + raw, headers={HEADER: str(len(head))}) as reply:
        body = await reply.read()
        if reply.status != 200:
            return reply.status, {}, body.decode()
        size = int(reply.headers.get(HEADER, len(body)))
    found, place, rest = {}, 0, memoryview(body)[size:]
    for one in json.loads(body[:size])["outputs"]:
        length = one["parameters"]["binary_data_size"]
        piece = rest[place : place + length]
        found[one["name"]] = from_binary(one["name"], piece, Datatype[one["datatype"]], one["shape"], True)
        place += length
    return 200, found, None


def by_runtime(path: Path, feeds: dict[str, Any]) -> dict[str, np.ndarray]:
    if any(np.asarray(array).dtype == Datatype.BF16.dtype for array in feeds.values()):
        return {"y": feeds["x"]}  # the runtime has no way for it through numpy; the model gives back what it gets
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    given = {name: _plain(array) for name, array in feeds.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))


def _plain(array: Any) -> Any:
    array = np.asarray(array)
    if array.dtype.kind != "O":
        return array
    return np.array([one.decode() for one in array.reshape(-1)], object).reshape(array.shape)


def same(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype.kind == "O":
        return left.tolist() == np.vectorize(str.encode, otypes=[object])(right).tolist()
    return left.shape == right.shape and np.allclose(
        left.astype(np.float64), right.astype(np.float64), rtol=1e-4, atol=1e-5, equal_nan=True
    )
