"""Each inference is counted once, by how it ended, and nothing else is: what a canary's gate lives by."""

from __future__ import annotations

import asyncio
from collections import Counter

import numpy as np
import pytest

from slipway.inferenceservice.policy.traffic import read_metrics
from tests.unit.runtime.waiting import until
from tests.unit.serve.grpc.test_grpc import listening, refused, waiting
from tests.unit.serve.serving import POISON, Serving, serving
from workloads.serve.batcher import Limits
from workloads.serve.telemetry.output_distribution import bins_of

INFER = "/v2/models/m/infer"


def counted(server: Serving) -> Counter[tuple[str, str]]:
    return server.app.metrics.inferences


async def test_only_inferences_count_whatever_else_is_asked() -> None:
    async with serving() as server:
        for path in ("/favicon.ico", "/", "/metrics", "/v2/health/ready", "/v2/models/other/infer", "/predict", INFER):
            async with server.client.get(server.base + path) as reply:
                await reply.read()
        async with server.client.post(f"{server.base}/v2/models/other/infer", data=b"{}") as reply:
            assert reply.status == 404
        assert not counted(server)
        figures = read_metrics(server.app.metrics.text())
        assert (figures.requests, figures.others) == (0, 0)


async def test_bad_requests_are_the_clients_and_an_engine_that_fails_is_the_models() -> None:
    async with serving() as server:
        for body in (b"", b"no JSON", b"{}"):
            async with server.client.post(server.base + INFER, data=body) as reply:
                assert reply.status == 400
        async with server.client.post(server.base + INFER, data=b"x", headers={"Content-Encoding": "br"}) as reply:
            assert reply.status == 415
        assert counted(server) == {("infer", "invalid"): 4}
        assert (await server.infer([1.0]))[0] == 200
        assert (await server.infer([POISON]))[0] == 400, "one request's own, which the model cannot compute"
        assert counted(server) == {("infer", "invalid"): 4, ("infer", "answered"): 1, ("infer", "failed"): 1}
        async with server.client.post(server.base + "/predict", json={"rows": [[2.0]]}) as reply:
            assert reply.status == 200
        async with server.client.post(server.base + "/predict", json={"rows": "no"}) as reply:
            assert reply.status == 400
        async with server.client.post(server.base + "/predict", json={"rows": [[3e38]]}) as reply:
            assert reply.status == 400, "infinite"
        found = {outcome: count for (route, outcome), count in counted(server).items() if route == "predict"}
        assert found == {"answered": 1, "invalid": 1, "failed": 1}


async def test_a_deadline_of_the_clients_own_is_not_the_servers() -> None:
    async with serving(seconds=0.4, limits=Limits(max_batch_size=1, default_timeout=0.2)) as server:
        assert (await server.infer([1.0], parameters={"timeout": 50_000}))[0] == 504
        assert (await server.infer([1.0]))[0] == 504
        assert counted(server) == {("infer", "client_deadline"): 1, ("infer", "failed"): 1}
        assert server.app.metrics.ends == {"client_deadline": 1, "deadline": 1}


async def test_a_full_queue_and_a_client_that_goes_say_nothing_of_the_model() -> None:
    async with serving(limits=Limits(max_batch_size=1, max_queue_size=1)) as server:
        server.engine.gate.clear()
        first = asyncio.create_task(server.infer([1.0]))
        await until(lambda: server.engine.batches)
        second = asyncio.create_task(server.infer([2.0]))
        await until(lambda: waiting(server) == 1)
        assert (await server.infer([3.0]))[0] == 429
        second.cancel()
        await until(lambda: waiting(server) == 0)
        server.engine.gate.set()
        assert (await first)[0] == 200
        await until(lambda: counted(server)["infer", "client_gone"] == 1)
        assert counted(server) == {("infer", "queue_full"): 1, ("infer", "client_gone"): 1, ("infer", "answered"): 1}
        figures = read_metrics(server.app.metrics.text())
        assert (figures.answered, figures.errors, figures.others) == (1, 0, 2)


async def test_grpc_counts_alike() -> None:
    async with serving() as server, listening(server) as (_, client):
        await client.infer(1.0)
        await refused(client.infer(POISON))
        await refused(client.infer(1.0, priority=99))
        await client.healthy()
        assert counted(server) == {("grpc", "answered"): 1, ("grpc", "failed"): 1, ("grpc", "invalid"): 1}


async def test_a_dead_engine_and_an_error_of_the_servers_own_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        codec = server.app.codec
        monkeypatch.setattr(type(codec), "encode", lambda *_: 1 / 0)
        assert (await server.infer([1.0]))[0] == 500
        monkeypatch.undo()
        server.engine.dead = True
        assert (await server.infer([1.0]))[0] == 500
        assert counted(server) == {("infer", "failed"): 2}


async def test_a_pod_that_loads_fails_nobody() -> None:
    async with serving(load=False) as server:
        assert (await server.infer([1.0]))[0] == 503
        assert counted(server) == {("infer", "not_ready"): 1}


def test_rows_of_nan_are_no_class() -> None:
    """The highest score of such a row is the NaN itself: a model of nothing but NaN looked like one of class 0."""
    scores = np.array([[np.nan, np.nan], [0.1, np.nan], [0.1, 0.9]], np.float32)
    assert bins_of(scores) == {"nan": 2, "1": 1}
