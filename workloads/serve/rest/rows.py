"""Rows for people: {"rows": [[...], ...]}, what the model's only input holds per row, already preprocessed."""

import secrets
from typing import Any

from workloads.serve.datatypes import Array
from workloads.serve.errors import Invalid
from workloads.serve.protocol.document import Cut
from workloads.serve.protocol.numbers import Text, from_text, shape_of
from workloads.serve.protocol.tensors import from_json
from workloads.serve.signature import Signature

MARK = secrets.token_hex(16)


def rows_of(signature: Signature, document: Any, most_rows: int = 0, cut: Cut | None = None) -> Array:
    """The only input's array. `cut` has the document's long arrays, which are text still."""
    rows = document.get("rows") if isinstance(document, dict) else None
    if cut is not None:
        rows = cut.text(rows)
        cut.check_used()
    if not isinstance(rows, Text) and (type(rows) is not list or not rows):
        raise Invalid('rows are a list with at least one row: {"rows": [[...], ...]}')
    if len(signature.inputs) != 1:
        raise Invalid("this model has several inputs: use the Open Inference Protocol")
    tensor = signature.inputs[0]
    shape = shape_of(rows) if isinstance(rows, Text) else _shape(rows)
    signature.check_shapes((tuple(shape),))
    if signature.batched and 0 < most_rows < shape[0]:
        raise Invalid(f"a request of {shape[0]} rows: this model takes 1 to {most_rows}")
    if isinstance(rows, Text):
        return from_text(tensor.name, rows, tensor.datatype, shape)
    return from_json(tensor.name, rows, tensor.datatype, shape)


def _shape(rows: Any) -> list[int]:
    """Shape of nested lists, by their first elements; from_json finds out whether the others agree."""
    shape = []
    while type(rows) is list:
        shape.append(len(rows))
        if not rows:
            break
        rows = rows[0]
    return shape
