"""What balancers, grpcurl and load generators ask over gRPC beside inferences, and what it may cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.unit.serve.serving import Serving, serving
from workloads.serve.edge import Keys
from workloads.serve.edge.access_log import AccessLog
from workloads.serve.grpc import open_calls
from workloads.serve.grpc.edge import around
from workloads.serve.grpc.server import SERVICE, GrpcServer
from workloads.serve.lifecycle import Phase
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.settings import EdgeChoice

States = health_pb2.HealthCheckResponse.ServingStatus
WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"


@asynccontextmanager
async def listening(server: Serving, most: int = 1 << 20, **rest) -> AsyncIterator[tuple[GrpcServer, grpc.aio.Channel]]:
    found = GrpcServer(server.app, most, False, 1000, **rest)
    port = await found.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield found, channel
    await found.finish(0)


def watch(channel: grpc.aio.Channel, service: str = ""):
    call = channel.unary_stream(WATCH, lambda m: m.SerializeToString(), health_pb2.HealthCheckResponse.FromString)
    return call(health_pb2.HealthCheckRequest(service=service))


def reflect(channel: grpc.aio.Channel, version: str = "v1"):
    call = channel.stream_stream(
        REFLECT.format(version),
        lambda m: m.SerializeToString(),
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    return call()


def unary(channel: grpc.aio.Channel, method: str, reply):
    return channel.unary_unary(f"/{SERVICE}/{method}", lambda m: m.SerializeToString(), reply.FromString)


async def test_who_watches_is_told_of_each_change_and_of_the_end() -> None:
    async with serving(load=False) as server, listening(server) as (found, channel):
        calls = [watch(channel), watch(channel, SERVICE)]
        for state, wanted in ((None, States.NOT_SERVING), (Phase.READY, States.SERVING)):
            if state is not None:
                async with serving() as other:  # one that is loaded lends its service
                    server.app.service, server.app.life.phase = other.app.service, state
                    assert [(await asyncio.wait_for(call.read(), 10)).status for call in calls] == [wanted] * 2
                    server.app.life.phase = Phase.DRAINING
                    said = [(await asyncio.wait_for(call.read(), 10)).status for call in calls]
                    assert said == [States.NOT_SERVING] * 2
            else:
                assert [(await asyncio.wait_for(call.read(), 10)).status for call in calls] == [wanted] * 2
        server.app.life.phase = Phase.STOPPING
        started = asyncio.get_running_loop().time()
        await found.finish(30)
        assert asyncio.get_running_loop().time() - started < 10, "a drain does not wait for who only watches"
        assert [await call.code() for call in calls] == [grpc.StatusCode.OK] * 2
        server.app.service = None


async def test_a_service_that_is_not_there_is_unknown_and_its_watch_stays() -> None:
    async with serving() as server, listening(server) as (_, channel):
        call = watch(channel, "other")
        assert (await asyncio.wait_for(call.read(), 10)).status == States.SERVICE_UNKNOWN
        call.cancel()


async def test_calls_that_stay_open_are_bounded_and_come_back(monkeypatch) -> None:
    monkeypatch.setattr(open_calls, "MOST", 5)
    async with serving() as server, listening(server) as (_, channel):
        calls = [watch(channel) for _ in range(5)]
        for call in calls:
            await asyncio.wait_for(call.read(), 10)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await asyncio.wait_for(watch(channel).read(), 10)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in calls:
            call.cancel()
        async with asyncio.timeout(20):
            while True:
                try:
                    await watch(channel).read()
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_names_the_services_and_describes_their_messages(version: str) -> None:
    async with serving() as server, listening(server) as (_, channel):
        call = reflect(channel, version)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        said = await asyncio.wait_for(call.read(), 10)
        names = {one.name for one in said.list_services_response.service}
        assert {SERVICE, "grpc.health.v1.Health"} <= names
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE))
        said = await asyncio.wait_for(call.read(), 10)
        assert b"ModelInferRequest" in said.file_descriptor_response.file_descriptor_proto[0]
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def test_an_idle_reflection_ends_by_itself(monkeypatch) -> None:
    monkeypatch.setattr(open_calls, "IDLE_SECONDS", 0.3)
    async with serving() as server, listening(server) as (_, channel):
        call = reflect(channel)
        assert await asyncio.wait_for(call.code(), 10) is grpc.StatusCode.OK


async def test_without_a_key_nobody_reflects_and_anybody_watches(tmp_path) -> None:
    (tmp_path / "key").write_text("sesame")
    async with serving() as server:
        replied = server.app.metrics.grpc_replied
        edge = around(EdgeChoice(keys=tmp_path), Keys(tmp_path), None, replied)
        async with listening(server, around=edge) as (_, channel):
            assert (await asyncio.wait_for(watch(channel).read(), 10)).status == States.SERVING
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await asyncio.wait_for(reflect(channel).read(), 10)
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await unary(channel, "ModelStatistics", pb.ModelStatisticsResponse)(pb.ModelStatisticsRequest())
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_statistics_and_configuration_say_what_rest_says() -> None:
    async with serving() as server, listening(server) as (_, channel):
        await server.infer([[1.0], [2.0]])
        _, rest = await server.get("/v2/models/m/stats")
        ask = unary(channel, "ModelStatistics", pb.ModelStatisticsResponse)
        for request in (pb.ModelStatisticsRequest(), pb.ModelStatisticsRequest(name="m", version="1")):
            (said,) = (await ask(request)).model_stats
            assert (said.inference_count, said.execution_count) == (2, 1)
            assert said.inference_stats.success.ns == rest["model_stats"][0]["inference_stats"]["success"]["ns"]
        config = (await unary(channel, "ModelConfig", pb.ModelConfigResponse)(pb.ModelConfigRequest(name="m"))).config
        _, rest = await server.get("/v2/models/m/config")
        assert (config.max_batch_size, config.backend) == (rest["max_batch_size"], rest["backend"])
        assert pb.DataType.Name(config.input[0].data_type) == rest["input"][0]["data_type"]
        assert list(config.input[0].dims) == rest["input"][0]["dims"]
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await unary(channel, "ModelConfig", pb.ModelConfigResponse)(pb.ModelConfigRequest(name="other"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["ServerLive", "ModelReady", "ModelMetadata", "ModelStatistics", "ModelConfig"])
async def test_a_large_message_where_none_is_needed_is_refused_in_words(method: str) -> None:
    """Sixty-two MiB to ServerLive, thirty times, was memory that nobody counted."""
    async with serving() as server, listening(server, 8 << 20) as (found, channel):
        call = channel.unary_unary(f"/{SERVICE}/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(b"\x0a" + b"\xff\xff\xff\x03" + b"x" * (0x7FFFFF), timeout=30)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "this call takes 65536" in str(error.value.details())
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(b"\xff\xff", timeout=30)
        assert "the message is no " in str(error.value.details())
        assert found._receiving.memory._left == 512 << 20


async def test_calls_that_stay_open_are_answered_where_there_is_a_log() -> None:
    """Watch and reflection write their replies themselves: around them, a log took them for generators."""
    async with serving() as server:
        lines: list[bytes] = []
        choice = EdgeChoice(request_id=True)
        interceptors = around(choice, None, AccessLog(100, lines.append), server.app.metrics.grpc_replied)
        async with listening(server, around=interceptors) as (_, channel):
            call = watch(channel)
            assert (await call.read()).status == States.SERVING
            call.cancel()
            asking = reflect(channel)
            await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert SERVICE in str(await asking.read())
            await asking.done_writing()
            assert await asking.read() is grpc.aio.EOF
        assert any(b"ServerReflectionInfo" in line and b'"OK"' in line for line in lines)


async def test_a_stream_of_inferences_is_refused_in_words() -> None:
    async with serving() as server, listening(server) as (_, channel):
        call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", None, None)()
        with pytest.raises(grpc.aio.AioRpcError, match="send ModelInfer") as error:
            await call.read()
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
