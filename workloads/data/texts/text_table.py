"""Texts with a class each: a table with the columns `text` and `label`, or a folder of tables named as splits are.

Files are those of workloads.data.texts.table. Held out are the rows or files that are named so, else one fifth of
each class.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slipway.api.common.artifact import DatasetReference
from slipway.api.common.sources import Columns, DatasetChoice
from workloads import storage
from workloads.data import splits
from workloads.data.datasets import counted, stratified_split
from workloads.data.texts import table
from workloads.data.texts.table import Row
from workloads.data.texts.text import TextSet, Tokenizer, checked, labelled
from workloads.errors import BadInput

HELD_OUT = 0.2


def load(choice: DatasetChoice) -> TextSet:
    """The table, or the folder of tables, at the choice's uri."""
    path = storage.fetch(str(choice.uri))
    if not path.is_dir():
        if not table.kind_of(path):
            raise BadInput(f"{choice.uri}: expected {', '.join(table.SUFFIXES)}, or one of them with .gz")
        return classes(table.read(path, choice), [], choice, storage.sha256_of(path), "text-table")
    files = sorted(one for one in path.rglob("*") if one.is_file() and table.kind_of(one))
    if not files:
        raise BadInput(f"{choice.uri}: no tables in this folder ({', '.join(table.SUFFIXES)})")
    names = {one.relative_to(path).as_posix(): one for one in files}
    parts = splits.of_files(choice, list(names), str(choice.uri))
    training, held = (_rows([names[name] for name in part], choice) for part in (parts.training, parts.held_out))
    digest = storage.tree_digest(storage.digests_of(path))
    return classes(training, held, choice, digest, "text-table", parts.words)


def _rows(paths: Sequence[Path], choice: DatasetChoice) -> list[Row]:
    return [row for path in paths for row in table.read(path, choice)]


def classes(
    rows: Sequence[Row], held: Sequence[Row], choice: DatasetChoice, digest: str, name: str, words: str = ""
) -> TextSet:
    """Rows as a data set of classes; without rows that are held out, those that a column names, or a fifth of each."""
    rows, held, words = _divided(rows, held, choice, words)
    names = _names([*rows, *held], choice)
    places = {label: number for number, label in enumerate(names)}
    labels = [np.asarray([places[row.label] for row in part], np.int64) for part in (rows, held)]
    if not held:
        kept, out = stratified_split(labels[0], HELD_OUT)
        labels = [labels[0][kept], labels[0][out]]
        rows, held = [rows[index] for index in kept], [rows[index] for index in out]
    tokenizer = Tokenizer(choice.tokenizer)
    texts = [
        labelled([row.text for row in part], own, tokenizer, choice.sequence_length)
        for part, own in zip((rows, held), labels, strict=True)
    ]
    reference = DatasetReference(
        name=name, uri=choice.uri, digest=digest, training_samples=len(rows), held_out_samples=len(held)
    )
    taken = (words or "one fifth of each class held out", counted([names[label] for label in labels[0]]))
    return checked(
        TextSet(texts[0], texts[1], names, tokenizer, choice.sequence_length, reference, taken=taken), choice
    )


def _divided(
    rows: Sequence[Row], held: Sequence[Row], choice: DatasetChoice, words: str
) -> tuple[Sequence[Row], Sequence[Row], str]:
    column = (choice.columns or Columns()).split
    values = sorted({row.split for row in rows})
    if held or values == [""]:
        return rows, held, words
    found = splits.chosen_parts(choice, values, f"{choice.uri}, column {column}")
    found = found or splits.by_name(values, [splits.kind_of(value) for value in values])
    if found is None:
        return rows, held, words
    parts = [[row for row in rows if row.split in names] for names in (found.training, found.held_out)]
    return parts[0], parts[1], f"by the column {column}: {found.words}"


def _names(rows: Sequence[Row], choice: DatasetChoice) -> tuple[str, ...]:
    names = tuple(sorted({row.label for row in rows}))
    if len(names) < 2:
        raise BadInput(f"{choice.uri}: expected at least two classes, found {list(names)}")
    if len(names) == len(rows) or (len(names) > 20 and all(_fraction(name) for name in names)):
        raise BadInput(
            f"{choice.uri}: {len(names)} different labels in {len(rows)} rows, like {names[0]!r}: they are no classes. "
            "Numbers to be estimated (regression) cannot be trained yet: make classes of them, or name another column "
            "by dataset.columns.label"
        )
    return names


def _fraction(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "." in text or "e" in text.lower()
