"""Own code before and after the model: which callables, in how many processes, and what clients send and get."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import MapBy, Model, Rule
from slipway.api.common.quantity import Quantity, parse_quantity
from slipway.api.common.types import AbsolutePath

# A module's dotted name, then a function's, or a class's and its static method's.
CALLABLE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
LEAST_MEMORY = 64 << 20

Callable = Annotated[str, Field(min_length=3, max_length=256, pattern=CALLABLE)]


class TensorDatatype(StrEnum):
    """The Open Inference Protocol's names of element types."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class TensorForm(Model):
    """A tensor as the protocol's metadata describes it."""

    name: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="The tensor's name.")
    datatype: TensorDatatype = Field(description="Of its elements; BYTES for texts and files.")
    shape: Annotated[list[Annotated[int, Field(ge=-1, le=2**31 - 1)]], Field(max_length=16)] = Field(
        description="Its lengths; -1 for any."
    )


Tensors = Annotated[list[TensorForm], Field(max_length=32), MapBy("name")]


class Transform(Model):
    """Callables of the server's image or of a mounted volume, in processes of their own."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.preprocess) || has(self.postprocess)",
            "transform without preprocess and postprocess does nothing: name a callable as package.module:function",
            lambda one: one.preprocess is not None or one.postprocess is not None,
        ),
        Rule(
            "!has(self.inputs) || size(self.inputs) == 0 || has(self.preprocess)",
            "transform.inputs are what preprocess takes: set preprocess, or remove inputs",
            lambda one: not one.inputs or one.preprocess is not None,
        ),
        Rule(
            "!has(self.outputs) || size(self.outputs) == 0 || has(self.postprocess)",
            "transform.outputs are what postprocess gives: set postprocess, or remove outputs",
            lambda one: not one.outputs or one.postprocess is not None,
        ),
        Rule(
            None,
            "transform.memory is too little for any process: 64Mi or more",
            lambda one: one.memory is None or parse_quantity(one.memory) >= LEAST_MEMORY,
        ),
    )
    preprocess: Callable | None = Field(
        None, description="package.module:function from the request's inputs to the model's, both dicts of arrays."
    )
    postprocess: Callable | None = Field(
        None, description="package.module:function from the request's own rows of the model's outputs to the answer's."
    )
    path: AbsolutePath | None = Field(
        None, description="A folder that modules are looked for in first, such as a volume's mountPath."
    )
    inputs: Tensors = Field(default_factory=list, description="What clients send; the model's own inputs when empty.")
    outputs: Tensors = Field(default_factory=list, description="What clients get; the model's own outputs when empty.")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        2,
        description="Processes; each works for one request at a time, and one that hangs is one less until it is over.",
    )
    memory: Quantity | None = Field(
        None,
        description="Of one process, for the modules and what they work on; no limit but the container's when unset.",
    )
