"""The REST form of an inference: JSON, with tensors in binary behind it where the client says so."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from workloads.serve.datatypes import Array, Datatype, finite
from workloads.serve.errors import Invalid
from workloads.serve.http.message import Buffer, Reply, Request
from workloads.serve.protocol.content_encoding import AT_ONCE, coding_of, inflated, inflated_if_small
from workloads.serve.protocol.document import SMALL, Cut, parsed
from workloads.serve.protocol.inference_request import Asked, in_order
from workloads.serve.protocol.numbers import Text, from_text
from workloads.serve.protocol.tensors import from_binary, from_json, to_binary, to_json
from workloads.serve.rest.pieces import LONG, put_in
from workloads.serve.rest.request_header import ABSENT, Field, Plan, Planner
from workloads.serve.signature import Signature

HEADER_LENGTH = b"inference-header-content-length"
BINARY = b"application/octet-stream"
# Where a long array was cut out of the JSON: nobody outside can know it.
MARK = secrets.token_hex(16)
DIGITS = re.compile(rb"[0-9]{1,18}")


@dataclass(frozen=True)
class Codec:
    """Reads and writes inferences of one model. `nonfinite`: NaN and infinity are welcome in binary inputs."""

    signature: Signature
    name: str
    version: str
    nonfinite: bool = False
    max_body_size: int = 64 << 20
    most_rows: int = 0

    @cached_property
    def planner(self) -> Planner:
        """Planner of this model."""
        return Planner(self.signature, self.most_rows)

    def heavy(self, request: Request) -> bool:
        """Reading it takes so long that others would notice. A small compressed body is inflated on the way."""
        parts = request.parts
        if len(parts) == 1 and len(parts[0]) <= AT_ONCE and b"content-encoding" not in request.headers:
            return False
        if not inflated_if_small(request):
            return True
        text = request.headers.get(HEADER_LENGTH)
        size = request.size
        return size > AT_ONCE and (text is None or self.texts or not DIGITS.fullmatch(text) or int(text) > AT_ONCE)

    @cached_property
    def texts(self) -> bool:
        """Some input has texts, which are objects, each one."""
        return any(tensor.datatype is Datatype.BYTES for tensor in self.signature.inputs)

    def decode(self, request: Request) -> Asked:
        """The request, whole and checked. Raises Invalid, TooLarge or UnsupportedEncoding."""
        body = request.body
        if b"content-encoding" in request.headers:
            body = inflated(body, coding_of(request), self.max_body_size)
        length = request.headers.get(HEADER_LENGTH)
        if length is None:
            return self._read(self._plan(body), memoryview(b""))
        if not DIGITS.fullmatch(length):
            raise Invalid("Inference-Header-Content-Length must be a whole number")
        header = int(length)
        if header > len(body):
            raise Invalid(f"Inference-Header-Content-Length is {header}, the body has {len(body)} bytes")
        view = memoryview(body)
        if header == 0:
            return self._raw(view)
        text = body[:header]
        plan = self.planner.known(text)
        if plan is None:
            plan = self._plan(text)
            self.planner.keep(text, plan)
        return self._read(plan, view[header:])

    def _plan(self, text: bytes) -> Plan:
        if len(text) <= SMALL:
            return self.planner.plan(parsed(text))
        cut = Cut(text, "data", MARK)
        return self.planner.plan(cut.document, cut)

    def _read(self, plan: Plan, binary: memoryview) -> Asked:
        """The tensors' data, as the plan says."""
        if len(binary) != plan.binary:
            raise Invalid(f"{len(binary)} bytes follow the JSON, its inputs' binary_data_size are {plan.binary}")
        inputs = tuple(self._array(field, binary) for field in plan.fields)
        return Asked(inputs, plan.rows, plan.group, plan.size, plan.outputs, plan.id, plan.priority, plan.timeout)

    def _array(self, field: Field, binary: memoryview) -> Array:
        tensor = field.tensor
        if type(field.data) is Text:
            return from_text(tensor.name, field.data, tensor.datatype, field.shape)
        if field.data is not ABSENT:
            return from_json(tensor.name, field.data, tensor.datatype, field.shape)
        return from_binary(tensor.name, binary[field.start : field.end], tensor.datatype, field.shape, self.nonfinite)

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

    def long(self, asked: Asked, results: Sequence[Array]) -> bool:
        """Writing the reply takes so long that others would notice."""
        return any(not as_binary and results[place].size > LONG for place, as_binary in asked.outputs)

    def encode(self, asked: Asked, results: Sequence[Array]) -> Reply:
        """The reply: JSON, and behind it what was asked for as binary."""
        long: dict[str, Any] = {}
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
                data = to_json(array, tensor.datatype)
                if array.size > LONG:
                    long[mark := f"{MARK}{place}"] = data
                    data = mark
                output["data"] = data
                if tensor.datatype.floating and not finite(array):
                    output["parameters"] = {"nonfinite": True}  # JSON has neither NaN nor infinity: they are null
            described.append(output)
        document: dict[str, Any] = {"model_name": self.name, "model_version": self.version, "outputs": described}
        if asked.id is not None:
            document["id"] = asked.id
        header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        if long:
            pieces = put_in(header, long)
            if not binary:
                return Reply(200, pieces)
            header = b"".join(pieces)
        if not binary:
            return Reply(200, (header,))
        length = b"Inference-Header-Content-Length: %d\r\n" % len(header)
        return Reply(200, (header, *binary), BINARY, length)
