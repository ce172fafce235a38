"""The REST form of an inference: JSON, with tensors in binary behind it where the client says so."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson

from workloads.serve.datatypes import Array, Datatype, finite
from workloads.serve.errors import Invalid
from workloads.serve.http.message import Buffer, Reply, Request
from workloads.serve.protocol.content_encoding import AT_ONCE, coding_of, inflated, inflated_if_small
from workloads.serve.protocol.document import SMALL, Cut, parsed
from workloads.serve.protocol.inference_request import InferenceRequest, in_order
from workloads.serve.protocol.numbers import Text, from_text
from workloads.serve.protocol.tensors import from_binary, from_json, to_binary, to_json
from workloads.serve.rest.pieces import LONG, in_pieces
from workloads.serve.rest.plain_json import PlainJson
from workloads.serve.rest.request_header import ABSENT, Field, Plan, Planner
from workloads.serve.signature import KEPT_SHAPES, Signature

HEADER_LENGTH = b"inference-header-content-length"
BINARY = b"application/octet-stream"
# Where a long array was cut out of the JSON: nobody outside can know it.
MARK = secrets.token_hex(16)
# Parts of a reply that are written as they are, without being put together first.
MANY = 64
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

    @cached_property
    def plain(self) -> PlainJson:
        """Reader of the most usual requests."""
        return PlainJson(self.planner)

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

    def decode(self, request: Request) -> InferenceRequest:
        """The request, whole and checked. Raises Invalid, TooLarge or UnsupportedEncoding."""
        body = request.whole
        if b"content-encoding" in request.headers:
            body = inflated(request.body, coding_of(request), self.max_body_size)
        length = request.headers.get(HEADER_LENGTH)
        if length is None:
            body = body if isinstance(body, bytes) else request.body
            return self.plain.read(body) or self._read(self._plan(body), memoryview(b""))
        if not DIGITS.fullmatch(length):
            raise Invalid("Inference-Header-Content-Length must be a whole number")
        header = int(length)
        if header > len(body):
            raise Invalid(f"Inference-Header-Content-Length is {header}, the body has {len(body)} bytes")
        view = memoryview(body)
        if header == 0:
            return self._raw(view)
        text = bytes(view[:header])
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

    def _read(self, plan: Plan, binary: memoryview) -> InferenceRequest:
        """The tensors' data, as the plan says."""
        if len(binary) != plan.binary:
            raise Invalid(f"{len(binary)} bytes follow the JSON, its inputs' binary_data_size are {plan.binary}")
        inputs = tuple(self._array(field, binary) for field in plan.fields)
        return InferenceRequest(
            inputs, plan.rows, plan.group, plan.size, plan.outputs, plan.id, plan.priority, plan.timeout
        )

    def _array(self, field: Field, binary: memoryview) -> Array:
        tensor = field.tensor
        if type(field.data) is Text:
            return from_text(tensor.name, field.data, tensor.datatype, field.shape)
        if field.data is not ABSENT:
            return from_json(tensor.name, field.data, tensor.datatype, field.shape)
        return from_binary(tensor.name, binary[field.start : field.end], tensor.datatype, field.shape, self.nonfinite)

    def _raw(self, body: memoryview) -> InferenceRequest:
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
        return InferenceRequest(inputs, rows, group, size, outputs)

    def long(self, asked: InferenceRequest, results: Sequence[Array]) -> bool:
        """Writing the reply takes so long that others would notice."""
        return any(not as_binary and results[place].size > LONG for place, as_binary in asked.outputs)

    def encode(self, asked: InferenceRequest, results: Sequence[Array]) -> Reply:
        """The reply: JSON, and behind it what was asked for as binary."""
        parts: list[bytes] = [self._beginning]
        binary: list[Buffer] = []
        for number, (place, as_binary) in enumerate(asked.outputs):
            tensor, array = self.signature.outputs[place], results[place]
            parts += [b"," if number else b"", self._described(place, array.shape)]
            if as_binary:
                raw = to_binary(array, tensor.datatype)
                parts.append(b',"parameters":{"binary_data_size":%d}}' % len(raw))
                binary.append(raw)
                continue
            parts.append(b',"data":')
            parts += in_pieces(to_json(array, tensor.datatype))
            # JSON has neither NaN nor infinity: they are null.
            parts.append(b"}" if finite(array) else b',"parameters":{"nonfinite":true}}')
        parts.append(b"]}" if asked.id is None else b'],"id":%b}' % orjson.dumps(asked.id))
        if not binary:
            return Reply(200, (b"".join(parts),) if len(parts) < MANY else parts)
        header = b"".join(parts)
        length = b"Inference-Header-Content-Length: %d\r\n" % len(header)
        return Reply(200, (header, *binary), BINARY, length)

    @cached_property
    def _beginning(self) -> bytes:
        document = {"model_name": self.name, "model_version": self.version}
        return orjson.dumps(document)[:-1] + b',"outputs":['

    def _described(self, place: int, shape: tuple[int, ...]) -> bytes:
        """An output's name, type and shape, up to where its data follows."""
        known = self._outputs.get((place, shape))
        if known is None:
            tensor = self.signature.outputs[place]
            document = {"name": tensor.name, "datatype": tensor.datatype.name, "shape": shape}
            if len(self._outputs) >= KEPT_SHAPES:
                self._outputs.clear()
            known = self._outputs[place, shape] = orjson.dumps(document)[:-1]
        return known

    @cached_property
    def _outputs(self) -> dict[tuple[int, tuple[int, ...]], bytes]:
        return {}
