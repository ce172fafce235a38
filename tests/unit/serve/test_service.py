"""The whole server in one process with an engine that is as slow or as faulty as the test wants: the hard cases."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
import numpy as np
import orjson
import pytest

from tests.unit.runtime.waiting import until
from tests.unit.serve.serving import POISON, serving
from workloads.serve import run
from workloads.serve.batcher import Limits
from workloads.serve.datatypes import Datatype
from workloads.serve.lifecycle import Lifecycle, Phase
from workloads.serve.run import drain
from workloads.serve.settings import Settings
from workloads.serve.signature import Signature, Tensor


async def test_ten_percent_poison_and_every_good_request_succeeds() -> None:
    async with serving(seconds=0.001, limits=Limits(max_queue_size=1000)) as server:
        asked = [POISON if number % 10 == 3 else float(number) for number in range(400)]
        replies = await asyncio.gather(*(server.infer([value, value]) for value in asked))
        for value, (status, body, _) in zip(asked, replies, strict=True):
            if value == POISON:
                assert status == 400, body
                assert "cannot compute this" in body["error"]
            else:
                assert body["outputs"][0]["data"] == [2 * value] * 2
        assert any(rows > 1 for rows, _ in server.engine.batches)
        assert (await server.get("/v2/health/ready"))[0] == 200


async def test_variable_lengths_never_share_a_batch_and_everyone_gets_their_own() -> None:
    async with serving(seconds=0.002) as server:
        asked = [[float(number)] * (1 + number % 3) for number in range(60)]
        replies = await asyncio.gather(*(server.infer(values) for values in asked))
        for values, (_, body, _) in zip(asked, replies, strict=True):
            assert body["outputs"][0]["data"] == [2 * value for value in values]
        assert len(server.engine.batches) < 60


async def test_a_full_queue_is_429_with_retry_after_and_no_503() -> None:
    async with serving(seconds=0.1, limits=Limits(max_batch_size=4, max_queue_size=8)) as server:
        replies = await asyncio.gather(*(server.infer([1.0]) for _ in range(60)))
        statuses = [status for status, _, _ in replies]
        assert set(statuses) == {200, 429}
        assert 8 <= statuses.count(200) <= 20
        for status, body, headers in replies:
            if status == 429:
                assert int(headers["Retry-After"]) >= 1
                assert "queue is full" in body["error"]
        assert (await server.infer([1.0]))[0] == 200


async def test_a_timeout_holds_in_the_queue_and_in_the_engine() -> None:
    async with serving(limits=Limits(max_batch_size=1)) as server:
        server.engine.gate.clear()
        parameters = {"timeout": 100_000}
        replies = await asyncio.gather(*(server.infer([1.0], parameters=parameters) for _ in range(3)))
        assert [status for status, _, _ in replies] == [504] * 3
        server.engine.gate.set()
        assert sorted("engine" in body["error"] for _, body, _ in replies) == [False, False, True]
        assert (await server.infer([1.0]))[0] == 200
        assert len(server.engine.batches) == 2, "requests whose time was over in the queue must not be computed"


async def test_a_gone_client_frees_its_place_and_is_never_computed() -> None:
    async with serving(seconds=0.2, limits=Limits(max_batch_size=1, max_queue_size=2)) as server:
        tasks = [asyncio.create_task(server.infer([float(number)])) for number in range(3)]
        await until(lambda: server.app.service is not None and server.app.service.batcher.waiting == 2)
        tasks[1].cancel()
        await until(lambda: server.app.service.batcher.waiting == 1)
        late = await server.infer([9.0])
        assert (await tasks[0])[0] == (await tasks[2])[0] == late[0] == 200
        assert len(server.engine.batches) == 3


async def test_the_urgent_are_served_first() -> None:
    limits = Limits(max_batch_size=1, priority_levels=2, priority_step=10)
    async with serving(limits=limits) as server:
        asked: list[asyncio.Task] = []
        server.engine.gate.clear()
        asked.append(asyncio.create_task(server.infer([0.0], parameters={"priority": 2})))
        await until(lambda: server.engine.batches)
        for number, (value, priority) in enumerate(((1.0, 2), (2.0, 2), (9.0, 1)), start=1):
            asked.append(asyncio.create_task(server.infer([value], parameters={"priority": priority})))
            await until(lambda number=number: server.app.service.batcher.waiting == number)
        server.engine.gate.set()
        assert {status for status, _, _ in await asyncio.gather(*asked)} == {200}
        assert server.engine.firsts == [0.0, 9.0, 1.0, 2.0]


async def test_not_loaded_is_not_ready_and_says_when_to_come_back() -> None:
    async with serving(load=False) as server:
        assert await server.get("/v2/health/live") == (200, {"live": True})
        assert (await server.get("/v2/health/ready"))[0] == 503
        assert await server.get("/v2/models/m/ready") == (503, {"name": "m", "ready": False})
        status, body, headers = await server.infer([1.0])
        assert (status, headers["Retry-After"], "loading" in body["error"]) == (503, "1", True)


async def test_a_dead_engine_makes_the_server_unready_and_then_dead() -> None:
    async with serving() as server:
        server.engine.dead = True
        replies = await asyncio.gather(*(server.infer([1.0]) for _ in range(8)))
        assert {status for status, _, _ in replies} == {500}
        assert (await server.get("/v2/health/ready"))[0] == 503
        status, body = await server.get("/v2/health/live")
        assert (status, body["live"], bool(body["reason"])) == (503, False, True)
        server.engine.dead = False
        assert (await server.infer([1.0]))[0] == 200, "it was a passing weakness"
        assert (await server.get("/v2/health/ready"))[0] == 200


async def test_an_engine_that_does_not_come_back_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr("workloads.serve.service.LEAST_PATIENCE", 0.1)
    async with serving(seconds=0.6, limits=Limits(default_timeout=0.02)) as server:
        assert (await server.infer([1.0]))[0] == 504
        assert (await server.get("/v2/health/live"))[0] == 200
        await until(lambda: server.app.broken)
        status, body = await server.get("/v2/health/live")
        assert (status, "not come back" in body["reason"]) == (503, True)
        assert (await server.get("/v2/health/ready"))[0] == 503
        await until(lambda: not server.app.broken)


async def test_a_slow_engine_is_not_taken_for_stuck_before_requests_of_now_can_have_timed_out(monkeypatch) -> None:
    monkeypatch.setattr("workloads.serve.service.LEAST_PATIENCE", 0.05)
    async with serving(limits=Limits(default_timeout=5)) as server:
        server.engine.gate.clear()
        asked = asyncio.create_task(server.infer([1.0]))
        await until(lambda: server.app.service.lanes[0].running > 0.2)
        assert not server.app.broken
        server.engine.gate.set()
        assert (await asked)[0] == 200


async def test_rows_that_would_change_each_other_are_computed_alone() -> None:
    async with serving(seconds=0.002, independent=False) as server:
        await asyncio.gather(*(server.infer([1.0, 2.0]) for _ in range(20)))
        assert set(server.engine.batches) == {(1, 2)}


async def test_tensors_that_lie_anywhere_in_a_body_reach_the_engine_aligned() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    head = orjson.dumps({"inputs": [tensor]})
    async with serving() as server:
        for padding in range(4):
            start = head + b" " * padding
            headers = {"Inference-Header-Content-Length": str(len(start))}
            body = start + np.float32([1, 2]).tobytes()
            async with server.client.post(f"{server.base}/v2/models/m/infer", data=body, headers=headers) as reply:
                assert (await reply.json())["outputs"][0]["data"] == [2, 4]
        assert server.engine.aligned == [True] * 4


async def test_a_model_without_a_batch_axis() -> None:
    fixed = Signature((Tensor("x", Datatype.FP32, (2, 3)),), (Tensor("y", Datatype.FP32, (2, 3)),))
    async with serving(signature=fixed, limits=Limits(max_batch_size=1)) as server:
        status, body, _ = await server.infer(np.ones((2, 3)))
        assert (status, body["outputs"][0]["shape"]) == (200, [2, 3])
        assert (await server.infer(np.ones((1, 3))))[0] == 400


async def test_results_that_are_not_finite_are_null_and_marked() -> None:
    async with serving() as server:
        _, body, _ = await server.infer([3e38, 1.0])
        assert body["outputs"][0]["data"] == [None, 2.0]
        assert body["outputs"][0]["parameters"] == {"nonfinite": True}


async def test_leaving_is_not_ready_first_then_silent_and_loses_nothing() -> None:
    async with serving(seconds=0.02, limits=Limits(max_batch_size=2, max_queue_size=64)) as server:
        life, settings = server.app.life, Settings(model="m", readiness_lead=0.4, drain_timeout=5)
        statuses: list[int] = []

        async def client() -> None:
            while life.phase is not Phase.STOPPING:
                statuses.append((await server.infer([1.0]))[0])

        clients = [asyncio.create_task(client()) for _ in range(8)]
        await until(lambda: len(statuses) > 20)
        leaving = asyncio.create_task(drain(life, server.http, None, server.app.service, settings))
        await until(lambda: life.phase is Phase.DRAINING)
        before = len(statuses)
        assert (await server.get("/v2/health/ready"))[0] == 503
        assert (await server.get("/v2/health/live"))[0] == 200
        status, _, headers = await server.infer([1.0])
        assert (status, headers.get("Connection"), life.phase) == (200, "close", Phase.DRAINING)
        await leaving
        await asyncio.gather(*clients)
        assert len(statuses) > before + 8, "it must go on serving while balancers take notice"
        assert set(statuses) == {200}
        with pytest.raises(aiohttp.ClientConnectorError):
            await server.get("/v2/health/live")


async def test_told_to_leave_it_does_not_wait_for_a_model_that_is_loading(monkeypatch, caplog) -> None:
    lives: list[Lifecycle] = []
    loading = threading.Event()

    def install(life: Lifecycle) -> None:
        lives.append(life)

    monkeypatch.setattr(Lifecycle, "install", install)
    monkeypatch.setattr(run, "load_and_warm_up", lambda _settings: loading.wait(60))
    caplog.set_level("INFO")
    serving = asyncio.create_task(run.serve(Settings(model="m", host="127.0.0.1", port=0, grpc_port=-1)))
    await until(lambda: "listening" in caplog.text)
    lives[0].end()
    await asyncio.wait_for(serving, 20)
    loading.set()


async def test_metrics_count_what_happened() -> None:
    async with serving(seconds=0.01, limits=Limits(max_batch_size=4, max_queue_size=4)) as server:
        await asyncio.gather(*(server.infer([1.0]) for _ in range(30)))
        metrics = server.app.metrics
        assert (
            metrics.replies["http", "200"] == metrics.rows == sum(metrics.queue.counts) == sum(metrics.request.counts)
        )
        assert metrics.replies["http", "429"] == metrics.ends["queue_full"] > 0
        assert sum(metrics.batch.counts) == len(server.engine.batches)
        assert metrics.engine.sum == pytest.approx(metrics.engine_busy)


async def test_paths_of_other_servers_are_answered_with_this_ones() -> None:
    async with serving() as server:
        for path in ("/v1/models/m:predict", "/invocations", "/predictions/m"):
            status, said = await server.get(path)
            assert (status, "/v2/models/m/infer" in said["error"]) == (404, True), said
        status, said = await server.get("/v2/models/m/infer/")
        assert (status, "the slash" in said["error"]) == (404, True), said
