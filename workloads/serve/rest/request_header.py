"""JSON of a REST inference: everything that can be checked without its tensors' data.

Null for something optional is the same as leaving it out: libraries of many languages write fields that are not set so.

A client that sends binary tensors sends the same JSON again and again, so such plans are kept by their bytes.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from workloads.serve.datatypes import Datatype
from workloads.serve.errors import Invalid
from workloads.serve.protocol.document import Cut
from workloads.serve.protocol.inference_request import check_parameters, input_tensor, output_place, scheduling
from workloads.serve.protocol.tensors import check_shape
from workloads.serve.signature import Signature, Tensor

NOTHING: Mapping[str, Any] = {}
ABSENT = object()
KEPT_PLANS = 256
KEPT_BYTES = 4096


@dataclass(slots=True)
class Field:
    """One input: its data in JSON, or else where it lies in the bytes behind the JSON."""

    tensor: Tensor
    shape: tuple[int, ...]
    start: int
    end: int
    data: Any = ABSENT


@dataclass(slots=True)
class Plan:
    """`fields` in the model's order; `binary` bytes must follow the JSON; `size` in bytes of all tensors, about."""

    fields: tuple[Field, ...]
    binary: int
    rows: int
    group: Hashable
    size: int
    outputs: tuple[tuple[int, bool], ...]
    id: str | None
    priority: int
    timeout: float


class Planner:
    """Makes plans for one model."""

    def __init__(self, signature: Signature, most_rows: int = 0) -> None:
        """`most_rows` of one request; 0: as many as it says."""
        self._signature = signature
        self._most_rows = most_rows
        self._kept: dict[bytes, Plan] = {}

    def known(self, text: bytes) -> Plan | None:
        """The plan that these very bytes have given before."""
        return self._kept.get(text)

    def keep(self, text: bytes, plan: Plan) -> None:
        """Keep a plan without data of its own, and without an id, which is never the same twice."""
        if plan.id is not None or len(text) > KEPT_BYTES or any(field.data is not ABSENT for field in plan.fields):
            return
        if len(self._kept) >= KEPT_PLANS:
            self._kept.clear()
        self._kept[text] = plan

    def plan(self, document: Any, cut: Cut | None = None) -> Plan:
        """Raises Invalid in words. `cut` has the document's long arrays, which are text still."""
        if type(document) is not dict:
            raise Invalid("the request must be a JSON object")
        if "inputs" not in document:
            raise Invalid(_without_inputs(document))
        identifier = document.get("id")
        if identifier is not None and type(identifier) is not str:
            raise Invalid("id must be a string")
        parameters = NOTHING
        if "parameters" in document:
            parameters = check_parameters(document["parameters"], "the request")
        outputs = self._outputs(document.get("outputs"), _flag(parameters, "binary_data_output", False))
        priority, timeout = scheduling(parameters) if parameters else (0, 0.0)
        fields = self._fields(document["inputs"], cut)
        rows, group = self._signature.check_shapes(tuple(field.shape for field in fields))
        if 0 < self._most_rows < rows:
            raise Invalid(f"a request of {rows} rows: this model takes 1 to {self._most_rows}")
        binary = sum(field.end - field.start for field in fields)
        size = binary + sum(_json_size(field) for field in fields if field.data is not ABSENT)
        return Plan(fields, binary, rows, group, size, outputs, identifier, priority, timeout)

    def _fields(self, given: Any, cut: Cut | None) -> tuple[Field, ...]:
        """Input fields in the model's order. Binary data lies in the order of the request."""
        if type(given) is not list or not given:
            raise Invalid("inputs must be a list with at least one input")
        fields: dict[str, Field] = {}
        used = 0
        for one in given:
            if type(one) is not dict:
                raise Invalid("each input must be an object")
            tensor = input_tensor(self._signature, one.get("name"), one.get("datatype"), fields)
            shape = check_shape(tensor.name, one.get("shape"))
            size = _binary_size(tensor.name, one)
            data = one.get("data")
            if data is None:
                data = ABSENT
            fields[tensor.name] = Field(tensor, tuple(shape), used, used + size, cut.text(data) if cut else data)
            used += size
        if cut is not None:
            cut.check_used()
        self._signature.check_names(fields)
        return tuple(fields[tensor.name] for tensor in self._signature.inputs)

    def _outputs(self, given: Any, binary: bool) -> tuple[tuple[int, bool], ...]:
        """All of them when none is named."""
        if given is None:
            given = []
        if type(given) is not list:
            raise Invalid("outputs must be a list")
        if not given:
            return tuple((place, self._form(place, binary)) for place in range(len(self._signature.outputs)))
        chosen: dict[int, bool] = {}
        for one in given:
            if type(one) is not dict:
                raise Invalid("each output must be an object")
            place = output_place(self._signature, one.get("name"), tuple(chosen))
            parameters = NOTHING
            if "parameters" in one:
                parameters = check_parameters(one["parameters"], f"output {one['name']!r}")
            chosen[place] = self._form(place, _flag(parameters, "binary_data", binary))
        return tuple(chosen.items())

    def _form(self, place: int, binary: bool) -> bool:
        tensor = self._signature.outputs[place]
        if not binary and not tensor.datatype.in_json:
            words = f"output {tensor.name!r} is {tensor.datatype.name}, which has no JSON form"
            raise Invalid(f"{words}: ask for binary data")
        return binary


def _without_inputs(document: Mapping[str, Any]) -> str:
    """Advice for a document without inputs, such as one of another protocol."""
    if "specversion" in document:
        return "this is a CloudEvent with its attributes around the request: send what is in its data, and no more"
    if "instances" in document:
        return "instances are the V1 protocol's: send inputs, each with name, datatype, shape and data"
    return "inputs must be a list with at least one input"


def _binary_size(name: str, one: Mapping[str, Any]) -> int:
    """Bytes of an input behind the JSON: 0 when its data is in the JSON."""
    size = None
    if "parameters" in one:
        size = check_parameters(one["parameters"], f"input {name!r}").get("binary_data_size")
    if (size is None) != (one.get("data") is not None):
        raise Invalid(f"input {name!r} must have either data or parameters.binary_data_size")
    if size is None:
        return 0
    if type(size) is not int or size < 0:
        raise Invalid(f"input {name!r}: binary_data_size must be a whole number, 0 or more")
    return size


def _json_size(field: Field) -> int:
    if field.tensor.datatype is Datatype.BYTES and type(field.data) is list:
        return sum(len(one) for one in field.data if isinstance(one, str | list))
    return prod(field.shape) * field.tensor.datatype.itemsize


def _flag(parameters: Mapping[str, Any], name: str, otherwise: bool) -> bool:
    value = parameters.get(name, otherwise)
    if type(value) is not bool:
        raise Invalid(f"parameter {name} must be true or false")
    return value
