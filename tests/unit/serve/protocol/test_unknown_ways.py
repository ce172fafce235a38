"""Shared memory and classification are refused in words: whoever ignores them leaves the client with a wrong answer."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from tests.unit.serve.protocol.test_codec import request
from workloads.serve.datatypes import Datatype
from workloads.serve.errors import Invalid
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.protocol.grpc_tensors import GrpcCodec
from workloads.serve.rest.inference import Codec
from workloads.serve.signature import Signature, Tensor

PLAIN = Signature((Tensor("x", Datatype.FP32, ("batch",)),), (Tensor("y", Datatype.FP32, ("batch",)),))
REGION = {"shared_memory_region": "r", "shared_memory_byte_size": 4, "shared_memory_offset": 0}
WAYS = [({name: value}, "shares no memory") for name, value in REGION.items()] + [({"classification": 2}, "extension")]


@pytest.mark.parametrize(("parameters", "words"), WAYS)
@pytest.mark.parametrize("where", ["inputs", "outputs", "request"])
def test_rest(parameters, words, where) -> None:
    document = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}],
        "outputs": [{"name": "y"}],
    }
    (document if where == "request" else document[where][0])["parameters"] = parameters
    with pytest.raises(Invalid, match=words):
        Codec(PLAIN, "m", "1").decode(request(orjson.dumps(document)))


@pytest.mark.parametrize(("parameters", "words"), WAYS)
@pytest.mark.parametrize("where", ["inputs", "outputs", "request"])
def test_grpc(parameters, words, where) -> None:
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[np.ones(1, "<f4").tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    message.outputs.add(name="y")
    target = message if where == "request" else getattr(message, where)[0]
    for name, value in parameters.items():
        setattr(target.parameters[name], "string_param" if isinstance(value, str) else "int64_param", value)
    with pytest.raises(Invalid, match=words):
        GrpcCodec(PLAIN, "m", "1").decode(message)
