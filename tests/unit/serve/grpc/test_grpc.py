"""gRPC in the hard cases: the same server in one process, with an engine that is as slow as the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from tests.unit.runtime.waiting import until
from tests.unit.serve.serving import Serving, serving
from workloads.serve.batcher import Limits
from workloads.serve.grpc.server import GrpcServer
from workloads.serve.lifecycle import Phase
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.run import drain
from workloads.serve.settings import Settings

INFER = "/inference.GRPCInferenceService/ModelInfer"
CHECK = "/grpc.health.v1.Health/Check"
WAIT = {"timeout": 100_000}  # microseconds


class Client:
    """One channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def infer(self, value: float, count: int = 1, deadline: float = 10, **parameters: int):
        """y = 2 x of one row with so many equal values."""
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, count])
        request = pb.ModelInferRequest(
            model_name="m", inputs=[tensor], raw_input_contents=[np.full(count, value, "<f4").tobytes()]
        )
        for name, number in parameters.items():
            request.parameters[name].int64_param = number
        call = self._channel.unary_unary(INFER, lambda m: m.SerializeToString(), pb.ModelInferResponse.FromString)
        return call(request, timeout=deadline)

    async def healthy(self) -> bool:
        call = self._channel.unary_unary(
            CHECK, lambda m: m.SerializeToString(), health_pb2.HealthCheckResponse.FromString
        )
        reply = await call(health_pb2.HealthCheckRequest(), timeout=10)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def listening(server: Serving, most: int = 1 << 20) -> AsyncIterator[tuple[GrpcServer, Client]]:
    found = GrpcServer(server.app, most, False, 100)
    port = await found.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield found, Client(channel)
    await found.finish(0)


def waiting(server: Serving) -> int:
    assert server.app.service is not None
    return server.app.service.batcher.waiting


async def refused(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def test_a_full_queue_is_resource_exhausted_and_says_when_to_come_back() -> None:
    async with (
        serving(seconds=0.3, limits=Limits(max_batch_size=1, max_queue_size=2)) as server,
        listening(server) as (_, client),
    ):
        calls = [client.infer(float(number)) for number in range(3)]
        await until(lambda: waiting(server) == 2 and server.engine.batches)
        error = await refused(client.infer(9.0))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "queue is full" in error.details()
        assert int(dict(error.trailing_metadata())["retry-after"]) >= 1
        answers = [np.frombuffer((await call).raw_output_contents[0], "<f4")[0] for call in calls]
        assert answers == [0.0, 2.0, 4.0], "whoever was in the queue is served"
        assert server.app.metrics.replies["grpc", "RESOURCE_EXHAUSTED"] == 1


async def test_a_timeout_of_the_request_ends_it_in_the_queue_and_in_the_engine() -> None:
    async with serving(seconds=0.3, limits=Limits(max_batch_size=1)) as server, listening(server) as (_, client):
        errors = await asyncio.gather(*(refused(client.infer(1.0, **WAIT)) for _ in range(3)))
        assert {error.code() for error in errors} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert sorted("in the engine" in str(error.details()) for error in errors) == [False, False, True]
        assert len(server.engine.batches) == 1


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
async def test_a_gone_client_frees_its_place_and_is_never_computed(how: str) -> None:
    async with (
        serving(seconds=0.3, limits=Limits(max_batch_size=1, max_queue_size=2)) as server,
        listening(server) as (_, client),
    ):
        first = client.infer(1.0)
        await until(lambda: server.engine.batches)
        gone = client.infer(2.0, deadline=0.1 if how == "deadline" else 10)
        stays = client.infer(3.0)
        await until(lambda: waiting(server) == 2)
        if how == "cancelled":
            gone.cancel()
        await until(lambda: waiting(server) == 1)
        late = client.infer(4.0)
        for call in (first, stays, late):
            await call
        assert len(server.engine.batches) == 3


async def test_leaving_is_unhealthy_first_while_all_is_served_and_then_finishes_what_is_under_way() -> None:
    async with serving(seconds=0.3, limits=Limits(max_batch_size=1)) as server, listening(server) as (found, client):
        assert await client.healthy()
        life, settings = server.app.life, Settings(model="m", readiness_lead=60, drain_timeout=5)
        leaving = asyncio.create_task(drain(life, server.http, found, server.app.service, settings))
        await until(lambda: life.phase is Phase.DRAINING)
        assert not await client.healthy()
        await client.infer(1.0)
        last = client.infer(2.0)
        await until(lambda: len(server.engine.batches) == 2)
        life.interrupt()
        await leaving
        assert len((await last).outputs) == 1
        assert (await refused(client.infer(3.0))).code() is grpc.StatusCode.UNAVAILABLE


async def test_not_loaded_is_unavailable() -> None:
    async with serving(load=False) as server, listening(server) as (_, client):
        assert not await client.healthy()
        error = await refused(client.infer(1.0))
        assert (error.code(), "loading" in error.details()) == (grpc.StatusCode.UNAVAILABLE, True)


async def test_a_request_over_the_limit_is_refused_and_the_next_is_served() -> None:
    async with serving() as server, listening(server, most=1 << 20) as (_, client):
        error = await refused(client.infer(1.0, count=1 << 20))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not server.engine.batches
        await client.infer(1.0, count=1 << 10)


async def test_what_is_not_finite_is_refused() -> None:
    async with serving() as server, listening(server) as (_, client):
        error = await refused(client.infer(float("nan")))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert not server.engine.batches
