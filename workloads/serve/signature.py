"""Signature of the model: its tensors in the protocol's words, and the check of a request's shapes.

Read by the protocols before anything is queued, by the engines, and by the metadata endpoint.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from slipway.api.common.artifact import Signature as Described
from slipway.api.common.artifact import TensorSpec
from workloads.serve.datatypes import FROM_ARTIFACT, Array, Datatype
from workloads.serve.errors import Invalid

Axis = int | str
TO_ARTIFACT = {datatype: dtype for dtype, datatype in FROM_ARTIFACT.items()}
KEPT_SHAPES = 1024


@dataclass(frozen=True)
class Tensor:
    """One input or output. An axis is a length, or a name: the same name is the same length within one request."""

    name: str
    datatype: Datatype
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> list[int]:
        """Shape as the protocol writes it: -1 for an axis of any length."""
        return [axis if isinstance(axis, int) else -1 for axis in self.axes]


class Alone:
    """Batching group of one request, which shares no batch with others."""


ALONE = Alone()


@dataclass(frozen=True)
class Signature:
    """Tensors in the model's own order. `rowwise`: what running the model has shown of its first axes, where it has."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    rowwise: bool | None = None

    @cached_property
    def _shapes(self) -> dict[tuple[tuple[int, ...], ...], tuple[int, Hashable]]:
        """Shapes that were found to be good: clients send few, again and again."""
        return {}

    @cached_property
    def batched(self) -> bool:
        """Every tensor's first axis counts rows. As the model declares it: all have one and the same name."""
        if self.rowwise is not None:
            return self.rowwise
        first = {tensor.axes[0] if tensor.axes else None for tensor in (*self.inputs, *self.outputs)}
        return len(first) == 1 and isinstance(next(iter(first)), str)

    @cached_property
    def fixed(self) -> str:
        """Reason why the first axes of the inputs cannot be rows, or nothing."""
        for tensor in self.inputs:
            if not tensor.axes or not isinstance(tensor.axes[0], str):
                axis = f"a first axis of the length {tensor.axes[0]}" if tensor.axes else "no axes"
                return f"input {tensor.name!r} has {axis}"
        return "" if self.inputs else "the model has no inputs"

    @cached_property
    def by_name(self) -> Mapping[str, Tensor]:
        """Inputs."""
        return {tensor.name: tensor for tensor in self.inputs}

    @cached_property
    def output_places(self) -> Mapping[str, int]:
        """Places of the outputs in the engine's results, by name."""
        return {tensor.name: place for place, tensor in enumerate(self.outputs)}

    def check_names(self, names: Collection[str]) -> None:
        """Check the names of inputs. Invalid when an input is missing."""
        missing = [name for name in self.by_name if name not in names]
        if missing:
            raise Invalid(f"input {', '.join(map(repr, missing))} is missing")

    def check_shapes(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, Hashable]:
        """Rows of a request whose inputs have these shapes, in the model's order, and with which it may share a batch.

        One row when the model is not batched. Raises Invalid in words.
        """
        known = self._shapes.get(shapes)
        if known is None:
            rows = self._check(shapes)
            known = rows, tuple(shape[1:] for shape in shapes) if self.batched else shapes
            if self.batched and any(shape[0] != rows for shape in shapes):
                known = max(shape[0] for shape in shapes), ALONE
            if len(self._shapes) >= KEPT_SHAPES:
                self._shapes.clear()
            self._shapes[shapes] = known
        return known

    def _check(self, shapes: tuple[tuple[int, ...], ...]) -> int:
        lengths: dict[str, int] = {}
        for tensor, shape in zip(self.inputs, shapes, strict=True):
            if len(shape) != len(tensor.axes):
                raise Invalid(f"input {tensor.name!r} has shape {list(shape)}, the model takes {_words(tensor)}")
            for axis, length in zip(tensor.axes, shape, strict=True):
                if axis == length:
                    continue
                if not isinstance(axis, str):
                    raise Invalid(f"input {tensor.name!r} has shape {list(shape)}, the model takes {_words(tensor)}")
                if lengths.setdefault(axis, length) != length:
                    raise Invalid(f"input {tensor.name!r} has {axis} {length}, another input has {lengths[axis]}")
        if not self.batched:
            return 1
        rows = shapes[0][0]
        if rows < 1:
            raise Invalid(f"input {self.inputs[0].name!r} has shape {list(shapes[0])}: there is no row in it")
        return rows

    def check_outputs(self, outputs: Sequence[Array], rows: int = 0) -> None:
        """ValueError when an engine's results cannot be told apart, or given back row by row where `rows` is not 0."""
        if len(outputs) != len(self.outputs):
            raise ValueError(f"the engine gave {len(outputs)} outputs, the model has {len(self.outputs)}")
        if not rows:
            return
        for tensor, output in zip(self.outputs, outputs, strict=True):
            if not output.shape or output.shape[0] != rows:
                raise ValueError(f"output {tensor.name!r} has shape {list(output.shape)} for {rows} rows")


def from_artifact(described: Described) -> Signature:
    """The artifact's own signature."""
    return Signature(tuple(map(_tensor, described.inputs)), tuple(map(_tensor, described.outputs)))


def specs_of(tensors: Sequence[Tensor]) -> list[TensorSpec]:
    """Tensor specs in an artifact's form; names of axes may be any here."""
    return [
        TensorSpec.model_construct(name=one.name, dtype=TO_ARTIFACT[one.datatype], shape=list(one.axes))
        for one in tensors
    ]


def _tensor(spec: TensorSpec) -> Tensor:
    return Tensor(spec.name, FROM_ARTIFACT[spec.dtype], tuple(spec.shape))


def _words(tensor: Tensor) -> str:
    return "[" + ", ".join(str(axis) for axis in tensor.axes) + "]"
