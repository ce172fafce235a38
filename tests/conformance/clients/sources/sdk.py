"""Asks with a client of the protocol: `sdk.py CLIENT HTTP_PORT GRPC_PORT MODEL`, in an environment of its own.

Prints a line for each input it can send: NAME, tab, `right` or what is wrong. The inputs are those of inputs.py, as far
as a client has a way to send them.
"""

import asyncio
import contextlib
import sys

import numpy as np

SMALL = np.arange(8, dtype=np.float32).reshape(2, 4)
LARGE = np.arange(240_000, dtype=np.float32).reshape(2, -1)


def say(name, ask):
    """`ask` returns whether the answer is right."""
    try:
        fault = "" if ask() else "another answer"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
    sys.stdout.write(f"{name}\t{fault or 'right'}\n")


def refused(ask, *words):
    """It raises, with one of these words."""
    try:
        ask()
    except Exception as error:
        return any(word in str(error) for word in words)
    return False


def tensor(module, array, shape=None, **options):
    one = module.InferInput("x", list(shape or array.shape), "FP32")
    one.set_data_from_numpy(array, **options)
    return [one]


def triton_http(ports, model):
    import tritonclient.http as module

    client = module.InferenceServerClient(f"127.0.0.1:{ports[0]}")

    def infer(array, name=model, packed=None, **options):
        outputs = [module.InferRequestedOutput("y", binary_data=options.get("binary_data", True))]
        return client.infer(
            name, tensor(module, array, **options), outputs=outputs, request_compression_algorithm=packed
        )

    def same(array, **options):
        return np.array_equal(infer(array, **options).as_numpy("y"), array)

    say("small", lambda: same(SMALL, binary_data=False))
    say("binary", lambda: same(SMALL))
    say("refused", lambda: refused(lambda: client.infer(model, [module.InferInput("x", [1, 1], "FP32")]), "400"))
    say("large", lambda: same(LARGE, binary_data=False))
    say("gzip", lambda: same(SMALL, packed="gzip"))
    say("unknown", lambda: refused(lambda: infer(SMALL, "other"), "no model"))
    say("metadata", lambda: client.get_model_metadata(model)["name"] == model)
    say("again", lambda: same(SMALL))


def triton_http_aio(ports, model):
    import tritonclient.http as base
    import tritonclient.http.aio as module

    async def all_of_them():
        async with module.InferenceServerClient(f"127.0.0.1:{ports[0]}") as client:
            for name, array, binary in (("small", SMALL, False), ("binary", SMALL, True), ("large", LARGE, False)):
                result = await client.infer(model, tensor(base, array, binary_data=binary))
                say(name, lambda: np.array_equal(result.as_numpy("y"), array))  # noqa: B023  (called at once)
            several = await asyncio.gather(*(client.infer(model, tensor(base, SMALL)) for _ in range(20)))
            say("again", lambda: all(np.array_equal(one.as_numpy("y"), SMALL) for one in several))

    asyncio.run(all_of_them())


def triton_grpc(ports, model):
    import queue

    import tritonclient.grpc as module
    from tritonclient.utils import InferenceServerException

    client = module.InferenceServerClient(f"127.0.0.1:{ports[1]}")

    def same(array, **options):
        return np.array_equal(client.infer(model, tensor(module, array), **options).as_numpy("y"), array)

    answers = queue.SimpleQueue()

    def streamed():
        client.start_stream(lambda result, error: answers.put((result, error)))
        with contextlib.suppress(InferenceServerException):  # where the answer was here first
            client.async_stream_infer(model, tensor(module, SMALL))
        _, error = answers.get(timeout=20)
        client.stop_stream()
        return "send ModelInfer" in str(error)

    say("binary", lambda: same(SMALL))
    say("refused", lambda: refused(lambda: client.infer(model, [module.InferInput("x", [1, 1], "FP32")]), "INVALID"))
    say("large", lambda: same(LARGE))
    say("gzip", lambda: same(SMALL, compression_algorithm="gzip"))
    say("unknown", lambda: refused(lambda: client.infer("other", tensor(module, SMALL)), "NOT_FOUND"))
    say("metadata", lambda: client.get_model_metadata(model).name == model)
    say("stream refused in words", streamed)
    say("again", lambda: same(SMALL))


def kserve_input(array):
    from kserve import InferInput

    one = InferInput("x", list(array.shape), "FP32")
    one.set_data_from_numpy(array, binary_data=False)
    return one


def kserve_rest(ports, model):
    from kserve import InferenceRESTClient, InferRequest, RESTConfig

    async def all_of_them():
        client, base = InferenceRESTClient(RESTConfig(protocol="v2")), f"http://127.0.0.1:{ports[0]}"

        async def infer(array, name=model):
            return await client.infer(base, InferRequest(name, [kserve_input(array)]), model_name=name)

        for name, array in (("small", SMALL), ("large", LARGE), ("again", SMALL)):
            answer = await infer(array)
            say(name, lambda: np.array_equal(answer.outputs[0].as_numpy(), array))  # noqa: B023  (called at once)
        try:
            await infer(SMALL, "other")
        except Exception as error:
            words = str(error)
            say("unknown", lambda: "404" in words)
        ready = [await client.is_server_live(base), await client.is_server_ready(base)]
        ready.append(await client.is_model_ready(base, model))
        say("metadata", lambda: all(ready))

    asyncio.run(all_of_them())


def kserve_grpc(ports, model):
    from kserve import InferenceGRPCClient, InferRequest

    async def all_of_them():
        client = InferenceGRPCClient(f"127.0.0.1:{ports[1]}")
        for name, array in (("small", SMALL), ("large", LARGE), ("again", SMALL)):
            answer = await client.infer(InferRequest(model, [kserve_input(array)]))
            say(name, lambda: np.array_equal(answer.outputs[0].as_numpy(), array))  # noqa: B023  (called at once)
        ready = [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready(model)]
        say("metadata", lambda: all(ready))

    asyncio.run(all_of_them())


def perf_analyzer_http(ports, model):
    """What it asks before, between and after its measurements, and its inference with binary tensors."""
    import tritonclient.http as module

    client = module.InferenceServerClient(f"127.0.0.1:{ports[0]}")

    def counted():
        return client.get_inference_statistics(model)["model_stats"][0]["inference_count"]

    def measured():
        before = counted()
        outputs = [module.InferRequestedOutput("y", binary_data=True)]
        for number in range(10):
            client.infer(model, tensor(module, SMALL), outputs=outputs, request_id=str(number))
        return counted() == before + 20

    say("metadata", lambda: "statistics" in client.get_server_metadata()["extensions"])
    say("config", lambda: client.get_model_config(model)["name"] == model)
    say("all statistics", lambda: client.get_inference_statistics()["model_stats"])
    say("shared memory", lambda: refused(client.get_system_shared_memory_status, "nothing at"))
    say("binary", measured)


def perf_analyzer_grpc(ports, model):
    """The same over gRPC."""
    import tritonclient.grpc as module

    client = module.InferenceServerClient(f"127.0.0.1:{ports[1]}")

    def counted():
        return client.get_inference_statistics(model).model_stats[0].inference_count

    def measured():
        before = counted()
        for number in range(10):
            client.infer(model, tensor(module, SMALL), request_id=str(number))
        return counted() == before + 20

    say("metadata", lambda: "statistics" in client.get_server_metadata().extensions)
    say("config", lambda: client.get_model_config(model).config.name == model)
    say("all statistics", lambda: client.get_inference_statistics().model_stats)
    say("binary", measured)


def reflection(ports, model):
    """As grpcurl does: the services, then a message by its description alone."""
    import grpc
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    channel = grpc.insecure_channel(f"127.0.0.1:{ports[1]}")
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    service = "inference.GRPCInferenceService"

    def called(method, **fields):
        described = pool.FindServiceByName(service).FindMethodByName(method)
        asks, gets = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        call = channel.unary_unary(
            f"/{service}/{method}", request_serializer=asks.SerializeToString, response_deserializer=gets.FromString
        )
        return call(asks(**fields), timeout=20)

    contents = {"fp32_contents": SMALL.reshape(-1).tolist()}
    given = {"name": "x", "datatype": "FP32", "shape": [2, 4], "contents": contents}
    say("services", lambda: {service, "grpc.health.v1.Health"} <= set(database.get_services()))
    say("metadata", lambda: called("ModelMetadata", name=model).name == model)
    say("small", lambda: called("ModelInfer", model_name=model, inputs=[given]).outputs[0].shape == [2, 4])


if __name__ == "__main__":
    globals()[sys.argv[1]]((sys.argv[2], sys.argv[3]), sys.argv[4])
