"""A request that came over gRPC, as the same one over REST in binary: so copies are sent. Called by the gRPC server.

Times and priority are left out: nobody waits for a copy.
"""

from collections.abc import Mapping

import orjson

from workloads.serve.http import Request
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.protocol.tensors import to_binary
from workloads.serve.rest.inference import HEADER_LENGTH
from workloads.serve.signature import Signature

NONE: Mapping[str, str | bytes] = {}
KEPT = ("authorization", "x-api-key", "x-request-id")


def as_bytes(value: str | bytes) -> bytes:
    """Value of a call's metadata in bytes, as HTTP headers have it."""
    return value.encode() if isinstance(value, str) else value


def as_rest(
    model: str, signature: Signature, request: InferenceRequest, said: Mapping[str, str | bytes] = NONE
) -> Request:
    """Request over REST for the same outputs, all in binary. `said`: the call's metadata; its key and id are kept."""
    inputs, parts = [], []
    for tensor, array in zip(signature.inputs, request.inputs, strict=True):
        raw = to_binary(array, tensor.datatype)
        described = {"name": tensor.name, "datatype": tensor.datatype.name, "shape": array.shape}
        inputs.append({**described, "parameters": {"binary_data_size": len(raw)}})
        parts.append(raw)
    names = [signature.outputs[place].name for place, _ in request.outputs]
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    head = orjson.dumps({"inputs": inputs, "outputs": outputs})
    headers = {HEADER_LENGTH: b"%d" % len(head), b"content-type": b"application/octet-stream"}
    headers |= {name.encode(): as_bytes(said[name]) for name in KEPT if name in said}
    return Request(b"POST", b"/v2/models/%b/infer" % model.encode(), headers, b"".join((head, *parts)))
