"""Layout of a file's samples in its arrays, by their axes, held against the model's.

- Arrays with the model's axes: the first one counts samples. Where it plainly does not (another axis is called the
  batch, or first axes differ among the inputs), the axis with that name does, and without one the file is one sample.
- An array with one axis more holds a whole input for each sample: a sequence [time, batch, features], a scalar, a
  state. An array beside it with the model's axes has a row per sample where its first axis is as long, else it is the
  same for all of them.

Pure but for the arrays' shapes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from workloads.errors import BadInput
from workloads.onnx.file import Port

NAMED = re.compile(r".*batch.*|bsz?", re.IGNORECASE)
WAY_OUT = "give arrays with one axis more, [samples, ...]: a whole input of the model for each sample"


class ArrayShape(Protocol):
    """An array's axes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""


@dataclass(frozen=True)
class Place:
    """Place of one input's samples: along `axis`; `own`: each has all of the model's axes; neither: one for all."""

    axis: int | None = None
    own: bool = False


@dataclass(frozen=True)
class Layout:
    """`count` samples, and where each input has them."""

    count: int
    places: dict[str, Place]

    @property
    def together(self) -> bool:
        """Tell whether several samples go into one call."""
        return all(place == Place(axis=0) for place in self.places.values())


def layout_of(file: str, arrays: Mapping[str, ArrayShape], ports: Sequence[Port]) -> Layout:
    """Layout of the samples in a file's arrays.

    BadInput for arrays whose axes do not fit the model's, or that disagree about the number of samples.
    """
    more = {port.name: len(arrays[port.name].shape) - len(port.shape) for port in ports}
    for port in ports:
        if more[port.name] not in {0, 1}:
            raise BadInput(f"{file}: {port.name} has shape {arrays[port.name].shape}, the model takes {port.shape}")
    if any(more.values()):
        count = _agreed(file, [arrays[name].shape[0] for name, axes in more.items() if axes])
        places = {port.name: _beside(port, arrays[port.name].shape, more[port.name], count) for port in ports}
    elif first_counts(ports):
        fixed = {port.name for port in ports if not port.shape or port.shape[0] == arrays[port.name].shape[0] == 1}
        alone = fixed if any(port.name not in fixed for port in ports) else set()
        places = {port.name: Place() if port.name in alone or not port.shape else Place(axis=0) for port in ports}
        count = _agreed(file, [arrays[name].shape[0] for name, place in places.items() if place.axis == 0])
    else:
        places = {port.name: Place(axis=_named(port)) for port in ports}
        count = _agreed(
            file, [arrays[name].shape[place.axis] for name, place in places.items() if place.axis is not None] or [1]
        )
    for port in ports:
        _require_fit(file, port, arrays[port.name].shape, places[port.name])
    return Layout(count, places)


def first_counts(ports: Sequence[Port]) -> bool:
    """Tell whether every first axis may count samples: lengths agree, and no later axis is called the batch."""
    lengths = {port.shape[0] for port in ports if port.shape}
    burnt = lengths - {None, 1}
    return bool(lengths) and len(burnt) < 2 and not (burnt and lengths - burnt) and not any(map(_named, ports))


def _named(port: Port) -> int | None:
    """The axis that is called the batch; None also where that is not told by its name."""
    axes = [index for index, name in enumerate(port.axes) if NAMED.fullmatch(name)]
    return axes[0] if len(axes) == 1 else None


def _beside(port: Port, shape: tuple[int, ...], more: int, count: int) -> Place:
    if more:
        return Place(own=True)
    row = bool(port.shape) and shape[0] == count and port.shape[0] in {None, 1}
    return Place(axis=0) if row else Place()


def _agreed(file: str, lengths: Sequence[int]) -> int:
    if len(set(lengths)) != 1:
        raise BadInput(f"{file}: the arrays have different numbers of samples: {sorted(set(lengths))}")
    return lengths[0]


def _require_fit(file: str, port: Port, shape: tuple[int, ...], place: Place) -> None:
    have, want = (shape[1:] if place.own else shape), port.shape
    wrong = [
        index for index, (a, b) in enumerate(zip(want, have, strict=True)) if index != place.axis and a not in {None, b}
    ]
    if wrong or (place.axis is not None and place.axis > 0 and want[place.axis] not in {None, 1}):
        way = f": {WAY_OUT}" if place.axis != 0 and not place.own else ""
        raise BadInput(f"{file}: {port.name} has shape {shape}, the model takes {port.shape}{way}")
