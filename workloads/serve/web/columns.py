"""Rows in `/predict` by named columns, whose values may be texts; rows of bare numbers are read by rows.py.

{"rows": [{"age": 3, "city": "Rome"}, ...]}, or {"columns": ["age", "city"],
"rows": [[3, "Rome"], ...]}. Columns are the model's inputs where each of them is one, as of a scikit-learn pipeline, or
the places of its only input, as the artifact names them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.common.artifact import Artifact
from workloads.serve.datatypes import Array
from workloads.serve.errors import Invalid
from workloads.serve.protocol.tensors import from_json
from workloads.serve.rest.pieces import plain
from workloads.serve.signature import Signature, Tensor

WORDS = 'rows are a list with at least one row: {"rows": [[...], ...]}'
PEEK = 512
NAMED = re.compile(rb'"columns"\s*:|"rows"\s*:\s*\[\s*\{')


def columns_of(signature: Signature, artifact: Artifact | None) -> list[str] | None:
    """Names of the columns, in the model's order; None where there are none to be named."""
    if all(_is_column(tensor) for tensor in signature.inputs):
        return [tensor.name for tensor in signature.inputs]
    named = artifact.columns if artifact is not None else []
    return list(named) if named and len(signature.inputs) == 1 else None


def _is_column(tensor: Tensor) -> bool:
    """A value for each row: [batch] or [batch, 1]."""
    return len(tensor.axes) == 1 or (len(tensor.axes) == 2 and tensor.axes[1] == 1)


def asks_for_columns(document: Any, signature: Signature) -> bool:
    """Tell whether the rows are by column: they are named, or the model has an input for each."""
    if not isinstance(document, dict):
        return False
    rows = document.get("rows")
    named = type(rows) is list and bool(rows) and type(rows[0]) is dict
    return named or "columns" in document or len(signature.inputs) > 1


def are_named(body: bytes) -> bool:
    """Tell whether a document has rows with names, by its head: such rows are no arrays of numbers."""
    return NAMED.search(body[:PEEK]) is not None


def from_document(document: Any, signature: Signature, columns: Sequence[str] | None) -> dict[str, Array]:
    """The model's inputs by name. Raises Invalid in words."""
    rows = document.get("rows") if isinstance(document, dict) else None
    if type(rows) is not list or not rows:
        raise Invalid(WORDS)
    given = document.get("columns")
    if columns is None:
        raise Invalid("this model's columns have no names: send rows as lists, or use the Open Inference Protocol")
    values = _by_column(rows, given, columns)
    if all(_is_column(tensor) for tensor in signature.inputs):
        return {
            tensor.name: from_json(
                tensor.name, values[tensor.name], tensor.datatype, [len(rows), 1][: len(tensor.axes)]
            )
            for tensor in signature.inputs
        }
    tensor = signature.inputs[0]
    flat = [values[name][place] for place in range(len(rows)) for name in columns]
    return {tensor.name: from_json(tensor.name, flat, tensor.datatype, [len(rows), len(columns)])}


def _by_column(rows: Sequence[Any], given: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Each column's values. Every row has every column, and no other."""
    if given is not None and (type(given) is not list or not all(type(name) is str for name in given)):
        raise Invalid("columns are a list of names")
    order = given if given is not None else list(columns)
    if len(set(order)) != len(order) or set(order) != set(columns):
        raise Invalid(f"columns are {', '.join(map(repr, columns))}, each once")
    values: dict[str, list[Any]] = {name: [] for name in columns}
    for place, given_row in enumerate(rows, start=1):
        row = _row(place, given_row, order)
        missing = [name for name in columns if row.get(name) is None]
        unknown = [name for name in row if name not in values]
        if missing or unknown:
            words = f"has no {', '.join(map(repr, missing))}" if missing else f"has {', '.join(map(repr, unknown))}"
            raise Invalid(f"row {place} {words}: columns are {', '.join(map(repr, columns))}")
        for name in columns:
            values[name].append(row[name])
    return values


def _row(place: int, row: Any, order: Sequence[str]) -> dict[str, Any]:
    if type(row) is list:
        if len(row) != len(order):
            raise Invalid(f"row {place} has {len(row)} values, there are {len(order)} columns")
        return dict(zip(order, row, strict=True))
    if type(row) is not dict:
        raise Invalid(f"row {place} is neither a list nor an object")
    return row


def in_words(outputs: Mapping[str, Array], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Per row each output by its name: one value bare, values of which there are as many as labels by label."""
    count = len(next(iter(outputs.values())))
    named = {name: plain(output.reshape(count, -1)) for name, output in outputs.items()}
    return [{name: _named(values[row], labels) for name, values in named.items()} for row in range(count)]


def _named(values: Sequence[Any], labels: Sequence[str]) -> Any:
    if len(values) == 1:
        return values[0]
    return dict(zip(labels, values, strict=True)) if len(values) == len(labels) else values
