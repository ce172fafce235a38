"""One tensor between the wire and numpy. What does not fit is refused in words; nothing is converted silently.

JSON: numbers for numeric types, true and false for BOOL, strings for BYTES, flat or nested as the shape says.
Binary: little-endian, row-major; BYTES as a 32-bit length before each element.
"""

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from workloads.serve.datatypes import Array, Datatype, finite
from workloads.serve.errors import Invalid

LONGEST_AXIS = 2**63 - 1


def check_shape(name: str, shape: Any) -> list[int]:
    """A list of whole numbers from 0 up, as JSON gave it."""
    if type(shape) is not list or not all(type(length) is int and 0 <= length <= LONGEST_AXIS for length in shape):
        raise Invalid(f"input {name!r}: shape must be a list of whole numbers, 0 or more")
    return shape


def from_json(name: str, data: Any, datatype: Datatype, shape: Sequence[int]) -> Array:
    """A new array. Python lists in, flat or nested."""
    if not datatype.in_json:
        raise Invalid(f"input {name!r}: {datatype.name} has no JSON form, send it as binary data")
    if type(data) is not list:
        raise Invalid(f"input {name!r}: data must be a list")
    flat = _flatten(name, data, shape)
    if len(flat) != prod(shape):
        raise Invalid(f"input {name!r}: {len(flat)} elements, its shape {list(shape)} needs {prod(shape)}")
    check_kinds(name, flat, datatype)
    if datatype is Datatype.BYTES:
        array = np.empty(len(flat), dtype=object)
        array[:] = [element.encode() for element in flat]
        return shaped(name, array, shape)
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype=datatype.dtype)
    except OverflowError as error:
        raise Invalid(f"input {name!r}: a number is out of range for {datatype.name}") from error
    if not finite(array):
        raise Invalid(f"input {name!r}: a number is out of range for {datatype.name}")
    return shaped(name, array, shape)


def shaped(name: str, array: Array, shape: Sequence[int]) -> Array:
    """The same elements in this shape."""
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:  # [0, 2**62] has no elements, and numpy still cannot have it
        raise Invalid(f"input {name!r}: the shape {list(shape)} is too large") from error


def _flatten(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    """Nested lists must be nested exactly as the shape says; a flat list is taken as it is."""
    if not data or type(data[0]) is not list:
        return data
    level = data
    for depth, length in enumerate(shape):
        if depth:
            if not level:
                break  # an axis of length 0: nothing further inside says anything
            if set(map(type, level)) != {list}:
                raise Invalid(f"input {name!r}: data is not nested as its shape {list(shape)} says")
            lengths = set(map(len, level))
            level = list(chain.from_iterable(level))
        else:
            lengths = {len(level)}
        if lengths != {length}:
            raise Invalid(f"input {name!r}: data is not nested as its shape {list(shape)} says")
    return level


def check_kinds(name: str, flat: list[Any], datatype: Datatype) -> None:
    """Invalid when an element is of a type that JSON has for other datatypes."""
    kinds = set(map(type, flat))
    if datatype is Datatype.BOOL:
        allowed: set[type] = {bool}
    elif datatype is Datatype.BYTES:
        allowed = {str}
    else:
        allowed = {int, float} if datatype.floating else {int}
    if not kinds <= allowed:
        wrong = ", ".join(sorted("null" if kind is type(None) else kind.__name__ for kind in kinds - allowed))
        raise Invalid(f"input {name!r}: {datatype.name} data holds {wrong}")


def from_binary(name: str, raw: memoryview, datatype: Datatype, shape: Sequence[int], nonfinite: bool) -> Array:
    """A view of `raw`, not a copy (BYTES and unaligned data apart). `nonfinite`: NaN and infinity are welcome."""
    if datatype is Datatype.BYTES:
        return shaped(name, _bytes_elements(name, raw, prod(shape)), shape)
    wanted = prod(shape) * datatype.itemsize
    if len(raw) != wanted:
        raise Invalid(f"input {name!r}: {len(raw)} bytes, its shape {list(shape)} of {datatype.name} needs {wanted}")
    array: Array = np.frombuffer(raw, dtype=datatype.dtype)
    if datatype is Datatype.BOOL and not _zeros_and_ones(raw):
        raise Invalid(f"input {name!r}: a BOOL is one byte, 0 or 1")
    if datatype.floating and not nonfinite and not finite(array):
        raise Invalid(f"input {name!r}: holds NaN or infinity, which this server refuses")
    return shaped(name, array, shape)


def _zeros_and_ones(raw: memoryview) -> bool:
    numbers = np.frombuffer(raw, dtype=np.uint8)
    return not numbers.size or int(numbers.max()) <= 1


def _bytes_elements(name: str, raw: memoryview, count: int) -> Array:
    elements, place = [], 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise Invalid(f"input {name!r}: its bytes end inside an element's length")
        (length,) = struct.unpack_from("<I", raw, place)
        place += 4
        if place + length > len(raw):
            raise Invalid(f"input {name!r}: its bytes end inside an element")
        elements.append(bytes(raw[place : place + length]))
        place += length
        if len(elements) > count:
            break
    if len(elements) != count:
        raise Invalid(f"input {name!r}: {len(elements)} elements or more, its shape needs {count}")
    array = np.empty(count, dtype=object)
    array[:] = elements
    return array


def to_json(array: Array, datatype: Datatype) -> Any:
    """Elements that orjson writes as a flat list. Invalid for BYTES that are not UTF-8."""
    flat = array.reshape(-1)
    if datatype is not Datatype.BYTES:
        return np.ascontiguousarray(flat)
    try:
        return [element.decode() for element in flat]
    except UnicodeDecodeError as error:
        raise Invalid("an output is not text: ask for it as binary data") from error


def to_binary(array: Array, datatype: Datatype) -> memoryview:
    """The array's own bytes where it is contiguous, without a copy."""
    if datatype is Datatype.BYTES:
        parts = chain.from_iterable((struct.pack("<I", len(element)), element) for element in array.reshape(-1))
        return memoryview(b"".join(parts))
    contiguous = np.ascontiguousarray(array, dtype=datatype.dtype)
    return contiguous.reshape(-1).view(np.uint8).data
