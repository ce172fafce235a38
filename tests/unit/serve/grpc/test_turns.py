"""Large messages and the others' turns: counted in bytes and calls, not in seconds."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import numpy as np
import pytest
import uvloop

from tests.unit.runtime.waiting import until
from tests.unit.serve.serving import serving
from workloads.serve.grpc.server import GrpcServer
from workloads.serve.protocol import grpc_tensors
from workloads.serve.protocol import open_inference_pb2 as pb

INFER = "/inference.GRPCInferenceService/ModelInfer"
CLIENTS, SIZE = 3, 8 << 20
# What one read brings at most, with room for another loop's way.
READ = 256 << 10


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


def message(size: int, values: int = 0) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, values or size // 4])
    return pb.ModelInferRequest(
        model_name="m", inputs=[tensor], raw_input_contents=[np.ones(size // 4, "<f4").tobytes()]
    ).SerializeToString()


def send(port: int, data: bytes, codes: list[str]) -> None:
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        try:
            channel.unary_unary(INFER, None, None)(data, timeout=60)
            codes.append("OK")
        except grpc.RpcError as error:
            codes.append(error.code().name)


async def test_a_turn_of_the_loop_reads_one_piece_of_all_messages(monkeypatch) -> None:
    """grpcio put a message of 62 MiB together in one go, holding the interpreter: 0.1 s stood before every request."""
    parsed: list[int] = []
    real = grpc_tensors.parsed
    monkeypatch.setattr(grpc_tensors, "parsed", lambda data: parsed.append(len(data)) or real(data))
    async with serving() as server:
        listening = GrpcServer(server.app, 64 << 20, False, 100)
        port = await listening.start("127.0.0.1", 0)
        codes: list[str] = []
        data = message(SIZE, 4)
        threads = [threading.Thread(target=send, args=(port, data, codes), daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        came: dict[object, int] = {}
        turns: list[int] = []
        async with asyncio.timeout(120):
            while any(thread.is_alive() for thread in threads):
                await asyncio.sleep(0)
                now = {call: call.came for call in listening._calls._calls}
                turns.append(sum(size - came.get(call, 0) for call, size in now.items()))
                came = now
                time.sleep(0.002)  # noqa: ASYNC251  (the clients fill the sockets meanwhile)
        assert codes == ["INVALID_ARGUMENT"] * CLIENTS
        assert 0 < max(turns) <= 2 * READ
        assert max(parsed) < 1024, "the tensors are read where they lie"
        await until(lambda: listening._receiving.memory._left == 512 << 20)
        await listening.finish(0)


async def test_a_large_message_is_computed_as_it_was_sent() -> None:
    async with serving() as server:
        listening = GrpcServer(server.app, 64 << 20, False, 100)
        port = await listening.start("127.0.0.1", 0)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            values = np.arange(4 << 20, dtype="<f4")
            tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, values.size])
            request = pb.ModelInferRequest(model_name="m", inputs=[tensor], raw_input_contents=[values.tobytes()])
            data = await channel.unary_unary(INFER, None, None)(request.SerializeToString(), timeout=60)
        answer = np.frombuffer(pb.ModelInferResponse.FromString(data).raw_output_contents[0], "<f4")
        np.testing.assert_array_equal(answer, values * 2)
        await listening.finish(0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SystemSharedMemoryRegister", "send the data itself"),
        ("CudaSharedMemoryStatus", "send the data itself"),
        ("RepositoryModelLoad", "serves one model"),
    ],
)
async def test_calls_of_triton_that_are_not_here_say_what_to_do(name: str, words: str) -> None:
    async with serving() as server:
        listening = GrpcServer(server.app, 64 << 20, False, 100)
        port = await listening.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary(f"/inference.GRPCInferenceService/{name}", None, None)(b"", timeout=60)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert words in error.value.details()
        await listening.finish(0)
