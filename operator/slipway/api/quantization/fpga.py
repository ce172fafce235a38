"""FPGA of a QuantizationJob: the part, its clock, and how a network becomes a circuit on it."""

from typing import Annotated

from pydantic import Field

from slipway.api.common.base import Model
from slipway.api.common.types import MAX_INT32

Precision = Annotated[
    str, Field(max_length=15, pattern=r"^ap_fixed<([4-9]|[12][0-9]|3[0-2]),(-?[0-9]|[12][0-9]|3[0-2])>$")
]
ReuseFactor = Annotated[int, Field(ge=1, le=MAX_INT32)]


class FpgaLayer(Model):
    """One layer that is built in another way than the rest."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern="^[a-z0-9_]+$")] = Field(
        description="As the report calls it: conv1, conv2, dense1, in the order of the network."
    )
    precision: Precision | None = Field(None, description="Format of its weights and of what it gives.")
    reuse_factor: ReuseFactor | None = Field(None, description="How often each of its multipliers is used.")


class Fpga(Model):
    """The part that the circuit is for, and what it may take of it."""

    part: Annotated[str, Field(pattern="^xc[a-z0-9]+(-[a-zA-Z0-9]+)*$", max_length=63)] = Field(
        description="AMD's number of the part, such as xc7z020clg400-1 or xcu250-figd2104-2L-e."
    )
    clock: Annotated[float, Field(ge=1, le=100)] = Field(5, description="Period in nanoseconds; 5 are 200 MHz.")
    dsps: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="DSP slices that the network may take; all that the part has when unset."
    )
    precision: Precision | None = Field(
        None,
        description="Fixed-point format of all numbers: bits, and those of them before the point. Unset: 8, 10, 12 and "
        "16 bits are tried until one passes the gates, each tensor's point set by calibration.",
    )
    reuse_factor: ReuseFactor | None = Field(
        None,
        description="How often each multiplier of a layer is used for one answer, for all layers. Unset: chosen layer "
        "by layer, so that the multipliers fit the DSPs and no layer keeps the others waiting.",
    )
    per_layer: Annotated[
        list[FpgaLayer],
        Field(
            max_length=64, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list, description="Layers of which something is fixed.")
