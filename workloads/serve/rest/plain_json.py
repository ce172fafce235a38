"""Requests in JSON that differ in the numbers of one flat array alone: what stands around them is checked once.

Most requests over REST are so. Whatever is not exactly so is read the long way, which says what is wrong with it;
so nothing here refuses anything. Asked by inference.py.
"""

import re
import secrets
import struct
from functools import lru_cache
from math import prod

import numpy as np
import orjson

from workloads.serve.datatypes import Array, Datatype, finite
from workloads.serve.errors import Invalid
from workloads.serve.protocol.document import SMALL, parsed
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.protocol.tensors import shaped
from workloads.serve.rest.request_header import KEPT_BYTES, KEPT_PLANS, Plan, Planner

# A key ends with the only quote without a backslash that can stand before a colon: this is never inside a string.
DATA = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[')
# In an array without these there are numbers alone: strings, objects, arrays, true, false and null have one of them.
NO_NUMBERS = (b'"', b"{", b"[", b"u", b"s")
# What takes the array's place while the rest is parsed: nobody outside can know it.
MARK = secrets.token_hex(16)
# Letters of the module `struct` for what JSON can hold; it takes no number out of range, and no fraction for a whole.
LETTERS = {
    Datatype.UINT8: "B",
    Datatype.UINT16: "H",
    Datatype.UINT32: "I",
    Datatype.UINT64: "Q",
    Datatype.INT8: "b",
    Datatype.INT16: "h",
    Datatype.INT32: "i",
    Datatype.INT64: "q",
    Datatype.FP32: "f",
    Datatype.FP64: "d",
}


@lru_cache(maxsize=256)
def _layout(letter: str, count: int) -> struct.Struct:
    return struct.Struct(f"<{count}{letter}")


def packed(values: list[object], datatype: Datatype, shape: tuple[int, ...]) -> Array | None:
    """Numbers as an array, read-only, as `tensors.from_json` makes it and faster; None where that would refuse them."""
    letter = LETTERS.get(datatype)
    if letter is None or len(values) != prod(shape):
        return None
    try:
        array: Array = np.frombuffer(_layout(letter, len(values)).pack(*values), dtype=datatype.dtype)
    except (struct.error, OverflowError):
        return None
    return shaped("", array, shape) if finite(array) else None


class PlainJson:
    """Reads such requests of one model. `planner` checks what is new."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._kept: dict[tuple[bytes, bytes], Plan] = {}

    def read(self, text: bytes) -> InferenceRequest | None:
        """The request, whole and checked, or None: it is to be read the long way."""
        found = DATA.search(text) if len(text) <= SMALL else None
        if found is None:
            return None
        start = found.end() - 1
        end = text.find(b"]", start) + 1
        if not end or any(text.find(sign, start + 1, end) >= 0 for sign in NO_NUMBERS):
            return None
        around = text[:start], text[end:]
        plan = self._kept.get(around) or self._plan(around)
        if plan is None:
            return None
        (field,) = plan.fields
        try:
            values = orjson.loads(memoryview(text)[start:end])
        except orjson.JSONDecodeError:
            return None
        array = packed(values, field.tensor.datatype, field.shape)
        if array is None:
            return None
        return InferenceRequest(
            (array,), plan.rows, plan.group, plan.size, plan.outputs, plan.id, plan.priority, plan.timeout
        )

    def _plan(self, around: tuple[bytes, bytes]) -> Plan | None:
        """Plan of a request of which the array is the only tensor. Kept where it has no id, which comes but once."""
        try:
            plan = self._planner.plan(parsed(b'%b"%b"%b' % (around[0], MARK.encode(), around[1])))
        except Invalid:
            return None
        if len(plan.fields) != 1 or plan.fields[0].data != MARK:
            return None
        if plan.id is None and sum(map(len, around)) <= KEPT_BYTES:
            if len(self._kept) >= KEPT_PLANS:
                self._kept.clear()
            self._kept[around] = plan
        return plan
