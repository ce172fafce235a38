"""Plan of a circuit: the format of every tensor and the reuse factor of every layer, for a part. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from slipway.api.quantization.fpga import Fpga
from workloads.errors import BadInput
from workloads.quantize.calibration.scale import Range
from workloads.quantize.hls import formats, reuse
from workloads.quantize.hls.chain import Chain, Layer
from workloads.quantize.hls.formats import Format
from workloads.quantize.hls.parts import Part, part_of

SOURCE = (
    "DSPs: products / reuse factor for each layer, times the slices of one multiplication; interval: positions x reuse "
    "factor of the slowest layer; latency: sum over layers of positions x reuse factor + 4 clocks, after Duarte et al. "
    "2018, arXiv:1804.06913, section 3.2. Estimates: no synthesis was run, and tools move narrow products into LUTs"
)


@dataclass(frozen=True)
class LayerPlan:
    """Plan of one layer with weights."""

    name: str
    weights: Format
    factor: int
    multipliers: int
    dsps: int
    interval: int


@dataclass(frozen=True)
class CircuitPlan:
    """The whole circuit. `results`: format of what each layer gives, by its name; `bits` of all stored weights."""

    part: Part
    clock: float
    input: Format
    results: Mapping[str, Format]
    layers: tuple[LayerPlan, ...]
    dsps: int
    interval: int
    latency: int
    bits: int

    def wire(self) -> dict[str, Any]:
        """The estimate as JSON."""
        return {
            "estimate": True,
            "source": SOURCE,
            "part": self.part.name,
            "clockNs": self.clock,
            "dsps": self.dsps,
            "dspsOfPart": self.part.dsps,
            "intervalClocks": self.interval,
            "latencyClocks": self.latency,
            "intervalMicroseconds": round(self.interval * self.clock / 1e3, 4),
            "latencyMicroseconds": round(self.latency * self.clock / 1e3, 4),
            "layers": [
                {
                    "name": layer.name,
                    "weights": str(layer.weights),
                    "result": str(self.results[layer.name]),
                    "reuseFactor": layer.factor,
                    "multipliers": layer.multipliers,
                    "dsps": layer.dsps,
                    "intervalClocks": layer.interval,
                }
                for layer in self.layers
            ],
        }


def require(chain: Chain, fpga: Fpga) -> None:
    """BadInput for what no candidate can build: an unknown part or layer, a factor no layer can have, no room."""
    part = part_of(fpga.part, fpga.dsps)
    names = [layer.name for layer in chain.weighted]
    for each in fpga.per_layer:
        if each.name not in names:
            raise BadInput(f"target.fpga.perLayer names {each.name}; the layers with weights are {', '.join(names)}")
    for layer in chain.weighted:
        _fixed(layer, fpga)
    narrowest = formats.parsed(fpga.precision).bits if fpga.precision is not None else formats.WIDTHS[0]
    try:
        reuse.solved(_works(chain, fpga, part, narrowest), part.dsps)
    except reuse.DoesNotFitError as error:
        raise BadInput(
            f"target.fpga: the network does not fit {fpga.part}: {error}; choose a larger part, a smaller network, or "
            "larger reuse factors where they are fixed"
        ) from error


def planned(chain: Chain, fpga: Fpga, bits: int, ranges: Mapping[str, Range]) -> CircuitPlan:
    """The plan with numbers of `bits`, or of the job's precision; `ranges` of tensors by ONNX's names.

    DoesNotFitError where the multipliers are too many at any factors.
    """
    part = part_of(fpga.part, fpga.dsps)
    works = _works(chain, fpga, part, bits)
    plan = reuse.solved(works, part.dsps)
    layers = tuple(
        LayerPlan(
            layer.name,
            _weights(layer, fpga, bits),
            factor,
            work.multipliers(factor),
            work.multipliers(factor) * work.slices,
            work.interval(factor),
        )
        for layer, work, factor in zip(chain.weighted, works, plan.factors, strict=True)
    )
    results = _results(chain, fpga, bits, ranges)
    stored = sum(
        layer.weight.size * one.weights.bits
        for layer, one in zip(chain.weighted, layers, strict=True)
        if layer.weight is not None
    )
    given = _format(fpga, None, bits) or _ranged(ranges.get(chain.input), bits)
    return CircuitPlan(part, fpga.clock, given, results, layers, plan.dsps, plan.interval, plan.latency, stored)


def bytes_of(plan: CircuitPlan) -> int:
    """Bytes of the weights as the circuit stores them."""
    return ceil(plan.bits / 8)


def _works(chain: Chain, fpga: Fpga, part: Part, bits: int) -> list[reuse.Work]:
    works, before = [], _format(fpga, None, bits)
    width = before.bits if before is not None else bits
    for layer in chain.weighted:
        inputs, outputs, positions = layer.products
        own = _format(fpga, layer.name, bits)
        mine = own.bits if own is not None else bits
        works.append(reuse.Work(layer.name, inputs, outputs, positions, part.slices(width, mine), _fixed(layer, fpga)))
        width = mine
    return works


def _fixed(layer: Layer, fpga: Fpga) -> int | None:
    """The factor that the job asks for. BadInput for one that hls4ml would silently take another for."""
    own = next((each.reuse_factor for each in fpga.per_layer if each.name == layer.name), None)
    factor = own if own is not None else fpga.reuse_factor
    inputs, outputs, _ = layer.products
    if factor is not None and factor not in reuse.valid(inputs, outputs):
        near = " and ".join(map(str, reuse.nearest(inputs, outputs, factor)))
        raise BadInput(
            f"target.fpga: reuse factor {factor} does not divide {layer.name}'s {inputs} x {outputs} products as "
            f"hls4ml needs; the nearest that do: {near}"
        )
    return factor


def _format(fpga: Fpga, name: str | None, bits: int) -> Format | None:
    """The format that the job asks for; None where calibration sets the point."""
    own = next((each.precision for each in fpga.per_layer if each.name == name), None)
    text = own if own is not None else fpga.precision
    return None if text is None else formats.parsed(text)


def _weights(layer: Layer, fpga: Fpga, bits: int) -> Format:
    asked = _format(fpga, layer.name, bits)
    if asked is not None or layer.weight is None:
        return asked or Format(bits, 1)
    return formats.fitting(float(layer.weight.min()), float(layer.weight.max()), bits)


def _results(chain: Chain, fpga: Fpga, bits: int, ranges: Mapping[str, Range]) -> dict[str, Format]:
    """Formats of what layers give. Of pools and reshapes that of what they read: they make no larger numbers."""
    found: dict[str, Format] = {}
    last, name = _format(fpga, None, bits) or _ranged(ranges.get(chain.input), bits), None
    for layer in chain.layers:
        name = layer.name if layer.weight is not None else name
        if layer.weight is not None or layer.op not in {"MaxPool", "AveragePool", "Flatten"}:
            seen = ranges.get(layer.output)
            own = _format(fpga, name, bits)
            narrow = {"Sigmoid": Range(0.0, 1.0), "Softmax": Range(0.0, 1.0), "Tanh": Range(-1.0, 1.0)}.get(layer.op)
            last = own or _ranged(narrow or seen, bits, otherwise=last)
        found[layer.name] = last
    return found


def _ranged(seen: Range | None, bits: int, otherwise: Format | None = None) -> Format:
    """The format that holds what calibration has seen; half as many bits before the point where it saw nothing."""
    if seen is None:
        return otherwise or Format(bits, (bits + 1) // 2)
    return formats.fitting(seen.low, seen.high, bits)
