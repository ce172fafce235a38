"""Keys, ids, the log over gRPC, and keys on copies of requests over both protocols, each with a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import orjson
import pytest

from tests.unit.serve.edge.test_edge import INFER, ROW, ask, keys
from tests.unit.serve.serving import serving
from workloads.serve.edge import Keys
from workloads.serve.edge.access_log import AccessLog
from workloads.serve.grpc.edge import around
from workloads.serve.grpc.server import GrpcServer
from workloads.serve.mirror import Mirror
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.settings import EdgeChoice

__all__ = ["keys"]


async def test_keys_and_request_ids_over_grpc(keys: Path) -> None:
    choice = EdgeChoice(keys=keys, request_id=True)
    async with serving() as server:
        metrics, lines = server.app.metrics, []
        interceptors = around(choice, Keys(keys), AccessLog(100, lines.append), metrics.grpc_replied)
        listening = GrpcServer(server.app, 1 << 20, False, 100, around=interceptors)
        listening.tells_time = True
        port = await listening.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 1])
            tensor.contents.fp32_contents.append(2.0)
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                lambda message: message.SerializeToString(),
                pb.ModelInferResponse.FromString,
            )
            request = pb.ModelInferRequest(model_name="m", inputs=[tensor])
            for metadata in ((), (("x-api-key", "wrong"),)):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await infer(request, metadata=metadata)
                assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
            call = infer(request, metadata=(("authorization", "Bearer another"), ("x-request-id", "mine")))
            assert dict(await call.initial_metadata())["x-request-id"] == "mine"
            assert (await call).outputs[0].name == "y"
            assert "compute;dur=" in dict(await call.trailing_metadata())["server-timing"]
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive", None, None)
            assert await live(b"")
        await listening.finish(0)
        assert metrics.replies["grpc", "UNAUTHENTICATED"] == 2
        logged = [orjson.loads(line) for line in lines]
        assert [line["status"] for line in logged] == ["UNAUTHENTICATED"] * 2 + ["OK"] * 2
        assert (logged[2]["requestId"], logged[2]["client"]) == ("mine", "127.0.0.1")
        assert not any(word in b"".join(lines) for word in (b"another", b"wrong"))


@pytest.mark.parametrize("asks", [True, False])
async def test_a_copy_carries_the_key_to_a_server_that_asks_for_it_and_to_no_other(tmp_path: Path, asks: bool) -> None:
    """Over HTTP and gRPC: the canary would refuse every copy, or somebody else would learn a secret."""
    came: list[bytes] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    other = await asyncio.start_server(record, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
    (tmp_path / "mirror.json").write_text(orjson.dumps({"url": url, "percent": 100, "keys": asks}).decode())
    async with serving() as server:
        server.app.mirror = Mirror(tmp_path / "mirror.json", server.app.metrics.copies, 0.01)
        following = asyncio.create_task(server.app.mirror.follow())
        async with asyncio.timeout(20):
            while server.app.mirror._target is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        secret = {"X-Api-Key": "s3cret", "Authorization": "Bearer s3cret"}
        await ask(server.client, "POST", server.base + INFER, json=ROW, headers=secret)
        grpc_server = GrpcServer(server.app, 1 << 20, False, 100)
        port = await grpc_server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                lambda message: message.SerializeToString(),
                pb.ModelInferResponse.FromString,
            )
            tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 1])
            tensor.contents.fp32_contents.append(2.0)
            await infer(
                pb.ModelInferRequest(model_name="m", inputs=[tensor]),
                metadata=[(name.lower(), value) for name, value in secret.items()],
            )
        async with asyncio.timeout(20):
            while len(came) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        following.cancel()
        await grpc_server.finish(0)
    other.close()
    assert [head.lower().count(b"s3cret") for head in came] == ([2, 2] if asks else [0, 0])
