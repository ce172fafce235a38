"""Messages between the server and a process that reads for it: two lengths, a small JSON, then bytes as they are.

The server believes its own processes, but an array still has to be what the signature says.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.serve import errors
from workloads.serve.datatypes import Array, Datatype
from workloads.serve.http.message import Buffer
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.protocol.tensors import to_binary
from workloads.serve.rest.inference import Codec
from workloads.serve.signature import Signature, Tensor

LENGTHS = struct.Struct("<QQ")
# Texts are made into objects in steps of so many, for the loop's other work.
STEP = 4096


def setup_of(codec: Codec, texts: bool = False) -> dict[str, Any]:
    """JSON that tells a process what it must know of the model: no pickle, not even between one's own processes.

    `texts`: it takes texts beside its own inputs.
    """
    tensors = {
        name: [[tensor.name, tensor.datatype.name, list(tensor.axes)] for tensor in side]
        for name, side in (("inputs", codec.signature.inputs), ("outputs", codec.signature.outputs))
    }
    own = {name: getattr(codec, name) for name in ("name", "version", "nonfinite", "max_body_size", "most_rows")}
    return {**tensors, "rowwise": codec.signature.rowwise, "codec": own, "texts": texts}


def codec_of(setup: Mapping[str, Any]) -> Codec:
    """Codec made from the JSON of `setup_of`."""
    inputs, outputs = (
        tuple(Tensor(name, Datatype[datatype], tuple(axes)) for name, datatype, axes in setup[side])
        for side in ("inputs", "outputs")
    )
    return Codec(signature=Signature(inputs, outputs, setup["rowwise"]), **setup["codec"])


@dataclass(slots=True)
class Job:
    """Request to be read. `kind` says how the body is to be read; `headers` as in a Request.

    Its `parts` are gone once they are sent.
    """

    kind: str
    headers: Mapping[bytes, bytes]
    parts: Sequence[Buffer]

    @property
    def size(self) -> int:
        """Size of the body, in bytes."""
        return sum(map(len, self.parts))

    def head(self) -> dict[str, Any]:
        """JSON that is sent before the body."""
        return {"kind": self.kind, "headers": {k.decode(): v.decode("latin-1") for k, v in self.headers.items()}}


def job_of(head: Mapping[str, Any], body: bytes) -> Job:
    """Job made from the JSON of `Job.head` and its body."""
    headers = {name.encode(): value.encode("latin-1") for name, value in head["headers"].items()}
    return Job(head["kind"], headers, [body])


def describe(request: InferenceRequest, signature: Signature) -> tuple[dict[str, Any], list[memoryview]]:
    """A request that was read: what is said of it, and its tensors' bytes."""
    shaped, raws = packed(signature.inputs, request.inputs)
    said = {
        **shaped,
        "size": request.size,
        "outputs": request.outputs,
        "id": request.id,
        "priority": request.priority,
        "timeout": request.timeout,
        "form": request.form,
    }
    return said, raws


def packed(tensors: Sequence[Tensor], arrays: Sequence[Array]) -> tuple[dict[str, Any], list[memoryview]]:
    """Shapes and lengths of arrays, and their bytes."""
    raws: list[memoryview] = []
    for tensor, array in zip(tensors, arrays, strict=True):
        raws.append(_texts_out(array) if tensor.datatype is Datatype.BYTES else to_binary(array, tensor.datatype))
    return {"shapes": [list(array.shape) for array in arrays], "lengths": [len(raw) for raw in raws]}, raws


def arrays_of(said: Mapping[str, Any], payload: memoryview, tensors: Sequence[Tensor]) -> Iterator[Array | None]:
    """Arrays in the tensors' order, and None now and then between, where others may have their turn."""
    place = 0
    for tensor, shape, length in zip(tensors, said["shapes"], said["lengths"], strict=True):
        raw = payload[place : place + length]
        place += length
        if tensor.datatype is not Datatype.BYTES:
            yield np.frombuffer(raw, dtype=tensor.datatype.dtype).reshape(shape)
            continue
        array = np.empty(int(np.prod(shape)), dtype=object)
        ends = np.frombuffer(raw[: 8 * len(array)], dtype=np.uint64).tolist()
        texts, start = raw[8 * len(array) :], 0
        for number, end in enumerate(ends):
            array[number] = bytes(texts[start:end])
            start = end
            if number % STEP == 0:
                yield None
        yield array.reshape(shape)


def asked_of(said: Mapping[str, Any], arrays: Sequence[Array], signature: Signature) -> InferenceRequest:
    """The request as it was read."""
    rows, group = signature.check_shapes(tuple(array.shape for array in arrays))
    outputs = tuple((place, binary) for place, binary in said["outputs"])
    form = tuple(said["form"]) if said["form"] is not None else None
    timeout = float(said["timeout"])
    return InferenceRequest(
        tuple(arrays), rows, group, said["size"], outputs, said["id"], said["priority"], timeout, form
    )


def trouble(error: errors.RequestError) -> dict[str, Any]:
    """JSON of the error that a request could not be read for."""
    return {"error": type(error).__name__, "words": str(error), "retry": error.retry_after}


def error_of(said: Mapping[str, Any]) -> errors.RequestError:
    """Error made from the JSON of `trouble`."""
    kind = getattr(errors, said["error"], errors.Invalid)
    error: errors.RequestError = kind(said["words"], said["retry"])
    return error


def _texts_out(array: Array) -> memoryview:
    """Bytes of an array of texts: the end of each, then the texts."""
    texts = array.reshape(-1).tolist()
    ends = np.cumsum([len(text) for text in texts], dtype=np.uint64)
    return memoryview(b"".join((ends.tobytes(), *texts)))
