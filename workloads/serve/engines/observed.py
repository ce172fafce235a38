"""Signature of a model's real outputs: its declaration, corrected by the results of the warm-up. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from workloads.serve.datatypes import Array
from workloads.serve.signature import Axis, Signature, Tensor

Shapes = Mapping[int, Sequence[tuple[int, ...]]]  # by rows of the batch: the shape of each output


def corrected(declared: Signature, seen: Shapes) -> tuple[Signature, list[str]]:
    """The signature of what was seen, and in words where that is not what the file declares.

    `rowwise` is set where it could be seen: with batches of different lengths, each output had a row for each.
    """
    outputs, words = [], []
    for place, tensor in enumerate(declared.outputs):
        shapes = {rows: shapes[place] for rows, shapes in seen.items()}
        found = _tensor(tensor, shapes)
        if found is not tensor:
            rows, shape = max(shapes.items())
            said = ", ".join(map(str, tensor.axes))
            words.append(f"output {tensor.name!r} is declared [{said}] and had {list(shape)} for {rows} row(s)")
        outputs.append(found)
    return replace(declared, outputs=tuple(outputs), rowwise=_rowwise(declared, seen)), words


def _rowwise(declared: Signature, seen: Shapes) -> bool | None:
    if declared.fixed:
        return False
    if len(seen) < 2:
        return None
    return all(shape and shape[0] == rows for rows, shapes in seen.items() for shape in shapes)


def _tensor(tensor: Tensor, shapes: Mapping[int, tuple[int, ...]]) -> Tensor:
    """Output tensor by the shapes seen: as declared where that holds for all of them, or their ranks differ."""
    ranks = {len(shape) for shape in shapes.values()}
    if len(ranks) > 1:
        return tensor
    rank = ranks.pop() if ranks else len(tensor.axes)
    fits = rank == len(tensor.axes) and all(
        isinstance(axis, str) or axis == length
        for shape in shapes.values()
        for axis, length in zip(tensor.axes, shape, strict=True)
    )
    if fits:
        return tensor
    axes = tuple(_axis(tensor, place, {rows: shape[place] for rows, shape in shapes.items()}) for place in range(rank))
    return replace(tensor, axes=axes)


def _axis(tensor: Tensor, place: int, lengths: Mapping[int, int]) -> Axis:
    declared = tensor.axes[place] if place < len(tensor.axes) else None
    if isinstance(declared, int) and set(lengths.values()) == {declared}:
        return declared
    if place == 0 and all(length == rows for rows, length in lengths.items()):
        return "batch"
    same = set(lengths.values())
    if declared is None and len(same) == 1 and len(lengths) > 1:
        return same.pop()
    return declared if isinstance(declared, str) else f"{tensor.name}_{place}"


def shapes_of(outputs: Sequence[Array]) -> list[tuple[int, ...]]:
    """Shapes of the results of one batch."""
    return [tuple(output.shape) for output in outputs]
