"""The REST form of an inference: JSON, with tensors in binary behind it where the client says so."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.errors import Invalid, TooLarge, UnsupportedEncoding
from workloads.serve.http.message import Buffer, Reply, Request
from workloads.serve.protocol.asked import (
    Asked,
    check_parameters,
    in_order,
    input_tensor,
    output_place,
    scheduling,
)
from workloads.serve.protocol.tensors import check_shape, from_binary, from_json, to_binary, to_json
from workloads.serve.signature import Signature

HEADER_LENGTH = b"inference-header-content-length"
BINARY = b"application/octet-stream"
DIGITS = re.compile(rb"[0-9]{1,18}")
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Codec:
    """Reads and writes inferences of one model. `nonfinite`: NaN and infinity are welcome in binary inputs."""

    signature: Signature
    name: str
    version: str
    nonfinite: bool = False
    max_body_size: int = 64 << 20

    def decode(self, request: Request) -> Asked:
        """The request, whole and checked. Raises Invalid, TooLarge or UnsupportedEncoding."""
        body = _decompressed(request, self.max_body_size)
        length = request.headers.get(HEADER_LENGTH)
        if length is None:
            return self._read(_parse(body), memoryview(b""))
        if not DIGITS.fullmatch(length):
            raise Invalid("Inference-Header-Content-Length must be a whole number")
        header = int(length)
        if header > len(body):
            raise Invalid(f"Inference-Header-Content-Length is {header}, the body has {len(body)} bytes")
        view = memoryview(body)
        return self._raw(view) if header == 0 else self._read(_parse(view[:header]), view[header:])

    def _read(self, document: Any, binary: memoryview) -> Asked:
        if type(document) is not dict:
            raise Invalid("the request must be a JSON object")
        identifier = document.get("id")
        if identifier is not None and type(identifier) is not str:
            raise Invalid("id must be a string")
        parameters = NOTHING
        if "parameters" in document:
            parameters = check_parameters(document["parameters"], "the request")
        inputs, rows, group, size = in_order(self.signature, self._inputs(document.get("inputs"), binary))
        outputs = self._outputs(document.get("outputs", []), _flag(parameters, "binary_data_output", False))
        priority, timeout = scheduling(parameters) if parameters else (0, 0.0)
        return Asked(inputs, rows, group, size, outputs, identifier, priority, timeout)

    def _inputs(self, given: Any, binary: memoryview) -> dict[str, Array]:
        """By name. Binary data is taken in the order of the inputs and must be used up."""
        if type(given) is not list or not given:
            raise Invalid("inputs must be a list with at least one input")
        arrays: dict[str, Array] = {}
        used = 0
        for one in given:
            if type(one) is not dict:
                raise Invalid("each input must be an object")
            tensor = input_tensor(self.signature, one.get("name"), one.get("datatype"), arrays)
            shape = check_shape(tensor.name, one.get("shape"))
            size = None
            if "parameters" in one:
                size = check_parameters(one["parameters"], f"input {tensor.name!r}").get("binary_data_size")
            if size is None:
                if "data" not in one:
                    raise Invalid(f"input {tensor.name!r} has neither data nor parameters.binary_data_size")
                arrays[tensor.name] = from_json(tensor.name, one["data"], tensor.datatype, shape)
                continue
            if "data" in one:
                raise Invalid(f"input {tensor.name!r} has data and parameters.binary_data_size: one of them")
            if type(size) is not int or not 0 <= size <= len(binary) - used:
                raise Invalid(f"input {tensor.name!r}: binary_data_size {size}, the body has {len(binary) - used} left")
            raw = binary[used : used + size]
            used += size
            arrays[tensor.name] = from_binary(tensor.name, raw, tensor.datatype, shape, self.nonfinite)
        if used != len(binary):
            raise Invalid(f"{len(binary) - used} bytes of binary data belong to no input")
        return arrays

    def _outputs(self, given: Any, binary: bool) -> tuple[tuple[int, bool], ...]:
        """All of them when none is named."""
        if type(given) is not list:
            raise Invalid("outputs must be a list")
        if not given:
            return tuple((place, self._form(place, binary)) for place in range(len(self.signature.outputs)))
        chosen: dict[int, bool] = {}
        for one in given:
            if type(one) is not dict:
                raise Invalid("each output must be an object")
            place = output_place(self.signature, one.get("name"), tuple(chosen))
            parameters = NOTHING
            if "parameters" in one:
                parameters = check_parameters(one["parameters"], f"output {one['name']!r}")
            if "classification" in parameters:
                raise Invalid("parameter classification: this server does not have the classification extension")
            chosen[place] = self._form(place, _flag(parameters, "binary_data", binary))
        return tuple(chosen.items())

    def _form(self, place: int, binary: bool) -> bool:
        tensor = self.signature.outputs[place]
        if not binary and not tensor.datatype.in_json:
            raise Invalid(
                f"output {tensor.name!r} is {tensor.datatype.name}, which has no JSON form: ask for binary data"
            )
        return binary

    def _raw(self, body: memoryview) -> Asked:
        """The whole body is the data of the only input, one row; all results are binary."""
        if len(self.signature.inputs) != 1:
            raise Invalid("a request without JSON is for models with one input, this one has more")
        tensor = self.signature.inputs[0]
        shape = [axis if isinstance(axis, int) else 1 for axis in tensor.axes]
        if tensor.datatype is Datatype.BYTES:
            array = np.empty(1, dtype=object)
            array[0] = bytes(body)
            if any(length != 1 for length in shape):
                raise Invalid("a request without JSON is one element of BYTES, this model takes more")
            array = array.reshape(shape)
        else:
            array = from_binary(tensor.name, body, tensor.datatype, shape, self.nonfinite)
        inputs, rows, group, size = in_order(self.signature, {tensor.name: array})
        outputs = tuple((place, True) for place in range(len(self.signature.outputs)))
        return Asked(inputs, rows, group, size, outputs)

    def encode(self, asked: Asked, results: Sequence[Array]) -> Reply:
        """The reply: JSON, and behind it what was asked for as binary."""
        described: list[dict[str, Any]] = []
        binary: list[Buffer] = []
        for place, as_binary in asked.outputs:
            tensor, array = self.signature.outputs[place], results[place]
            output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype.name, "shape": array.shape}
            if as_binary:
                raw = to_binary(array, tensor.datatype)
                output["parameters"] = {"binary_data_size": len(raw)}
                binary.append(raw)
            else:
                output["data"] = to_json(array, tensor.datatype)
                if tensor.datatype.floating and not np.isfinite(array).all():
                    output["parameters"] = {"nonfinite": True}  # JSON has neither NaN nor infinity: they are null
            described.append(output)
        document: dict[str, Any] = {"model_name": self.name, "model_version": self.version, "outputs": described}
        if asked.id is not None:
            document["id"] = asked.id
        header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        if not binary:
            return Reply(200, (header,))
        length = b"Inference-Header-Content-Length: %d\r\n" % len(header)
        return Reply(200, (header, *binary), BINARY, length)


def _flag(parameters: Mapping[str, Any], name: str, otherwise: bool) -> bool:
    value = parameters.get(name, otherwise)
    if type(value) is not bool:
        raise Invalid(f"parameter {name} must be true or false")
    return value


def _parse(body: "bytes | memoryview") -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the request is not JSON: {error}") from error
    except RecursionError as error:
        raise Invalid("the request is nested too deeply") from error


def _decompressed(request: Request, most: int) -> bytes:
    encoding = request.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return request.body
    if encoding not in {b"gzip", b"deflate"}:
        raise UnsupportedEncoding("Content-Encoding may be gzip, deflate or identity")
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, by its first bytes
    try:
        body = stream.decompress(request.body, most + 1)
    except zlib.error as error:
        raise Invalid(f"the body is not {encoding.decode()}") from error
    if len(body) > most:
        raise TooLarge(f"the body has more than {most} bytes when it is decompressed")
    if not stream.eof or stream.unused_data:
        raise Invalid(f"the {encoding.decode()} body is not whole, or something follows it")
    return body
