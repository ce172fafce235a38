"""Read an ONNX file's inputs and outputs by its own bytes, in an image that may have no onnx: protobuf's wire format.

Used by publish.py beside it. Only Python's own library is used, 3.8 and later.
"""

from __future__ import annotations

import mmap
from pathlib import Path

# onnx.proto3's TensorProto.DataType -> artifact.json's names.
TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip


def signature(path: Path) -> dict[str, object]:
    """Inputs and outputs: ModelProto.graph, of it input, output and initializer. ValueError if it is no ONNX file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        graph = _last(data, 0, len(data), 7)
        if graph is None:
            raise ValueError("there is no graph in it")
        fixed, sides = set(), {11: [], 12: []}  # type: ignore[var-annotated]
        for number, start, end in _fields(data, *graph):
            if number == 5:
                fixed.add(_text(data, _last(data, start, end, 8)))
            elif number in sides:
                sides[number].append(_tensor(data, start, end))
    inputs = [spec for spec in sides[11] if spec["name"] not in fixed]
    if not inputs or not sides[12]:
        raise ValueError("it has no inputs or no outputs")
    return {"inputs": inputs, "outputs": sides[12]}


def _tensor(data, start: int, end: int) -> dict[str, object]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """ValueInfoProto: name (1), type (2), of it tensor_type (1): elem_type (1), shape (2), of it dim (1)."""
    name = _text(data, _last(data, start, end, 1))
    kind = _last(data, *(_last(data, start, end, 2) or (0, 0)), 1)
    if kind is None:
        raise ValueError(f"{name} is no tensor")
    element, axes = 0, []
    for number, first, last in _fields(data, *kind):
        if number == 1:
            element = last
        elif number == 2:
            axes = [_axis(data, a, b, at) for at, (n, a, b) in enumerate(_fields(data, first, last)) if n == 1]
    if element not in TYPES:
        raise ValueError(f"{name} has element type {element}")
    return {"name": name, "dtype": TYPES[element], "shape": axes}


def _axis(data, start: int, end: int, place: int) -> object:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """A length, or a name as artifact.json writes names."""
    for number, first, last in _fields(data, start, end):
        if number == 1 and last > 0:
            return last
        if number == 2:
            word = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in _text(data, (first, last)))
            return word.lower() if word[:1].isalpha() else f"axis_{word.lower()}"
    return "batch" if place == 0 else f"axis_{place}"


def _fields(data, start: int, end: int):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Each field of a message: its number, and where its bytes begin and end; of a number, 0 and the number."""
    while start < end:
        key, start = _varint(data, start, end)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, start = _varint(data, start, end)
            yield number, 0, value
            continue
        length, start = _varint(data, start, end) if wire == 2 else ({1: 8, 5: 4}.get(wire, -1), start)
        if length < 0 or start + length > end:
            raise ValueError("it is cut off")
        if wire == 2:
            yield number, start, start + length
        start += length


def _varint(data, start: int, end: int) -> tuple[int, int]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    value = shift = 0
    while start < end and shift < 70:
        byte = data[start]
        start, value, shift = start + 1, value + ((byte & 127) << shift), shift + 7
        if byte < 128:
            return value, start
    raise ValueError("it is cut off")


def _last(data, start: int, end: int, wanted: int) -> tuple[int, int] | None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    found = None
    for number, first, last in _fields(data, start, end):
        if number == wanted:
            found = (first, last)
    return found


def _text(data, where: tuple[int, int] | None) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    return bytes(data[where[0] : where[1]]).decode(errors="replace") if where else ""
