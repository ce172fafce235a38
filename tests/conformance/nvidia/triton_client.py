"""Runs in an environment of its own, with NVIDIA's unmodified `tritonclient`: `triton_client.py HTTP_PORT GRPC_PORT`.

Asks a server of the model `simple` in every way the client knows. Ends with an exception or the word `ok`.
"""

import asyncio
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

FIRST = np.arange(32, dtype=np.int32).reshape(2, 16)
SECOND = np.full((2, 16), 3, dtype=np.int32)


def inputs(module, **options):
    tensors = [module.InferInput(name, [2, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, data in zip(tensors, (FIRST, SECOND), strict=True):
        tensor.set_data_from_numpy(data, **options)
    return tensors


def check(result) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), FIRST + SECOND)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), FIRST - SECOND)


def failure(client, model: str, tensors) -> InferenceServerException:
    try:
        client.infer(model, tensors)
    except InferenceServerException as error:
        return error
    raise AssertionError("a bad request was accepted")


def http(port: int) -> None:
    module = tritonclient.http
    with module.InferenceServerClient(f"127.0.0.1:{port}", concurrency=4) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("simple")
        assert not client.is_model_ready("other")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert client.get_model_metadata("simple")["inputs"][0]["shape"] == [-1, 16]
        for binary_in in (True, False):
            for binary_out in (True, False):
                outputs = [module.InferRequestedOutput(f"OUTPUT{n}", binary_data=binary_out) for n in (0, 1)]
                check(client.infer("simple", inputs(module, binary_data=binary_in), outputs=outputs, request_id="a"))
        check(client.infer("simple", inputs(module)))
        for encoding in ("gzip", "deflate"):
            packed = client.infer("simple", inputs(module), request_compression_algorithm=encoding)
            check(packed)
            check(client.infer("simple", inputs(module), response_compression_algorithm=encoding))
        check(client.infer("simple", inputs(module), model_version="1", priority=1, timeout=5_000_000))
        for waiting in [client.async_infer("simple", inputs(module)) for _ in range(20)]:
            check(waiting.get_result())
        refused = failure(client, "simple", inputs(module)[:1])
        assert "INPUT1" in refused.message(), refused
        assert refused.status() == "400", refused.status()


async def http_aio(port: int) -> None:
    async with tritonclient.http.aio.InferenceServerClient(f"127.0.0.1:{port}") as client:
        for result in await asyncio.gather(*(client.infer("simple", inputs(tritonclient.http)) for _ in range(20))):
            check(result)


def grpc(port: int) -> None:
    module = tritonclient.grpc
    with module.InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("simple")
        assert client.get_server_metadata().name == "slipway"
        assert client.get_model_metadata("simple").inputs[1].name == "INPUT1"
        check(client.infer("simple", inputs(module), request_id="b", client_timeout=10))
        check(client.infer("simple", inputs(module), compression_algorithm="gzip"))
        assert "NOT_FOUND" in failure(client, "other", inputs(module)).status()


if __name__ == "__main__":
    http(int(sys.argv[1]))
    asyncio.run(http_aio(int(sys.argv[1])))
    grpc(int(sys.argv[2]))
    sys.stdout.write("ok\n")
