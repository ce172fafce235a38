"""The gRPC form of an inference: messages to numpy and back. What does not fit is refused in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from workloads.serve.datatypes import Array, Datatype, finite
from workloads.serve.errors import Invalid
from workloads.serve.http.message import Buffer
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.protocol.grpc_message import LENGTH, NOT_A_MESSAGE, RAW_OUTPUT, check, in_place
from workloads.serve.protocol.inference_request import (
    InferenceRequest,
    in_order,
    input_tensor,
    output_place,
    refuse_unknown_ways,
    scheduling,
)
from workloads.serve.protocol.tensors import check_shape, from_binary, to_binary
from workloads.serve.signature import Signature, Tensor

FIELDS = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}


@dataclass(frozen=True)
class GrpcCodec:
    """Reads and writes inferences of one model. `nonfinite`: NaN and infinity are welcome."""

    signature: Signature
    name: str
    version: str
    nonfinite: bool = False
    most_rows: int = 0

    def read(self, message: bytes) -> InferenceRequest:
        """A message as it came. Raises Invalid, and TooLarge for one that holds more than a request can need."""
        check(memoryview(message), self.signature)
        return self.decode(parsed(message))

    def read_in_place(self, message: Buffer) -> InferenceRequest:
        """Inference as by `read`, for one with little beside its raw tensors, which are not copied."""
        rest, raws = in_place(memoryview(message))
        return self.decode(parsed(rest), raws)

    def decode(self, request: pb.ModelInferRequest, raws: Sequence[memoryview] = ()) -> InferenceRequest:
        """The request, whole and checked, with its raw tensors where they are not in it. Raises Invalid."""
        self._check_rows(request)
        arrays: dict[str, Array] = {}
        raw: Sequence[bytes | memoryview] = raws or request.raw_input_contents
        if raw and len(raw) != len(request.inputs):
            raise Invalid(f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs")
        for place, one in enumerate(request.inputs):
            tensor = input_tensor(self.signature, one.name, one.datatype, arrays)
            shape = check_shape(tensor.name, list(one.shape))
            if one.parameters:
                refuse_unknown_ways(one.parameters, f"input {one.name!r}")
            fields = [field.name for field, _ in one.contents.ListFields()]
            if raw:
                if fields:
                    raise Invalid(f"input {tensor.name!r} has contents beside raw_input_contents")
                view = memoryview(raw[place])
                arrays[tensor.name] = from_binary(tensor.name, view, tensor.datatype, shape, self.nonfinite)
            else:
                arrays[tensor.name] = self._typed(tensor, one.contents, fields, shape)
        inputs, rows, group, size = in_order(self.signature, arrays)
        parameters = _parameters(request.parameters)
        priority, timeout = scheduling(parameters) if parameters else (0, 0.0)
        return InferenceRequest(
            inputs, rows, group, size, self._outputs(request.outputs), request.id, priority, timeout
        )

    def _check_rows(self, request: pb.ModelInferRequest) -> None:
        """Before anything is made of their data."""
        rows = max((one.shape[0] for one in request.inputs if one.shape), default=0)
        if 0 < self.most_rows < rows:
            raise Invalid(f"a request of {rows} rows: this model takes 1 to {self.most_rows}")

    def _typed(
        self, tensor: Tensor, contents: pb.InferTensorContents, fields: list[str], shape: Sequence[int]
    ) -> Array:
        """Array from the repeated field of the tensor's type, which must be the only one that is set."""
        wanted = FIELDS.get(tensor.datatype)
        if wanted is None:
            raise Invalid(f"input {tensor.name!r}: {tensor.datatype.name} travels in raw_input_contents only")
        if any(field != wanted for field in fields):
            raise Invalid(
                f"input {tensor.name!r}: {tensor.datatype.name} belongs into {wanted}, not {', '.join(fields)}"
            )
        values = getattr(contents, wanted)
        count = 1
        for length in shape:
            count *= length
        if len(values) != count:
            raise Invalid(f"input {tensor.name!r}: {len(values)} elements, its shape {list(shape)} needs {count}")
        try:
            array = np.array(list(values), dtype=tensor.datatype.dtype)  # a list is checked for its range
            array = array.reshape(shape)
        except (OverflowError, ValueError) as error:
            raise Invalid(f"input {tensor.name!r}: {error}") from error
        if not self.nonfinite and not finite(array):
            raise Invalid(f"input {tensor.name!r}: holds NaN or infinity, which this server refuses")
        return array

    def _outputs(self, asked: Sequence[Any]) -> tuple[tuple[int, bool], ...]:
        places: list[int] = []
        for one in asked:
            places.append(output_place(self.signature, one.name, places))
            refuse_unknown_ways(one.parameters, f"output {one.name!r}")
        return tuple((place, True) for place in places or range(len(self.signature.outputs)))

    def encode(self, asked: InferenceRequest, results: Sequence[Array]) -> list[Buffer]:
        """A ModelInferResponse in parts, with all results raw, as other servers of the protocol send them.

        They are not copied into a message: that of a large one would hold everybody up.
        """
        response = pb.ModelInferResponse(model_name=self.name, model_version=self.version, id=asked.id or "")
        raws: list[Buffer] = []
        for place, _ in asked.outputs:
            tensor, array = self.signature.outputs[place], results[place]
            response.outputs.add(name=tensor.name, datatype=tensor.datatype.name, shape=array.shape)
            raw = to_binary(array, tensor.datatype)
            raws += [_raw_output(len(raw)), raw]
        return [response.SerializeToString(), *raws]


def _raw_output(length: int) -> bytes:
    """Bytes before a result: its field's number and kind, and its length."""
    out = bytearray((RAW_OUTPUT << 3 | LENGTH,))
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out)


def parsed(message: bytes) -> pb.ModelInferRequest:
    """Request parsed from bytes. Invalid for what is none."""
    try:
        request: pb.ModelInferRequest = pb.ModelInferRequest.FromString(message)
    except DecodeError as error:
        raise Invalid(NOT_A_MESSAGE) from error
    return request


def _parameters(given: Mapping[str, pb.InferParameter]) -> Mapping[str, Any]:
    """Plain values. Invalid for one without a value."""
    plain = {}
    for name, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise Invalid(f"parameter {name} has no value")
        plain[name] = getattr(parameter, choice)
    refuse_unknown_ways(plain, "the request")
    return plain
