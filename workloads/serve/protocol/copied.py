"""A request that came over gRPC, as the same one over REST in binary: so copies are sent. Called by the gRPC server.

Times and priority are left out: nobody waits for a copy.
"""

import orjson

from workloads.serve.http import Request
from workloads.serve.protocol.asked import Asked
from workloads.serve.protocol.rest import HEADER_LENGTH
from workloads.serve.protocol.tensors import to_binary
from workloads.serve.signature import Signature


def as_rest(model: str, signature: Signature, asked: Asked) -> Request:
    """For the same outputs, all in binary."""
    inputs, parts = [], []
    for tensor, array in zip(signature.inputs, asked.inputs, strict=True):
        raw = to_binary(array, tensor.datatype)
        described = {"name": tensor.name, "datatype": tensor.datatype.name, "shape": array.shape}
        inputs.append({**described, "parameters": {"binary_data_size": len(raw)}})
        parts.append(raw)
    names = [signature.outputs[place].name for place, _ in asked.outputs]
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    head = orjson.dumps({"inputs": inputs, "outputs": outputs})
    headers = {HEADER_LENGTH: b"%d" % len(head), b"content-type": b"application/octet-stream"}
    return Request(b"POST", b"/v2/models/%b/infer" % model.encode(), headers, b"".join((head, *parts)))
