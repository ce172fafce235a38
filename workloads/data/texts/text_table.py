"""Texts with a class each: a table with the columns `text` and `label`, or a folder of tables named as splits are.

With recipe.task also numbers, or any number of labels. Files are those of workloads.data.texts.table. Held out are
the rows or files that are named so, else one fifth of each class.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import DatasetReference
from slipway.api.common.sources import Columns, DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads import storage
from workloads.data import splits
from workloads.data.datasets import counted, stratified_split
from workloads.data.files_below import files_below, require_no_arrays
from workloads.data.targets import Targets, said, targets_of
from workloads.data.texts import table
from workloads.data.texts.table import Row
from workloads.data.texts.text import TextSet, Tokenizer, checked, labelled
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

HELD_OUT = 0.2


def load(choice: DatasetChoice, task: TrainingTask = TrainingTask.CLASSIFICATION) -> TextSet:
    """The table, or the folder of tables, at the choice's uri."""
    path = storage.fetch(str(choice.uri))
    if not path.is_dir():
        require_no_arrays(path, choice.uri)
        if not table.kind_of(path):
            raise BadInput(f"{choice.uri}: expected {', '.join(table.SUFFIXES)}, or one of them with .gz")
        return text_set(table.read(path, choice, task), [], choice, storage.sha256_of(path), "text-table", task=task)
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        raise BadInput(
            f"{choice.uri}: a data set that Hugging Face's save_to_disk wrote: set dataset.name: hugging-face"
        )
    files = files_below(path, lambda name: bool(table.kind_of(Path(name))))
    if not files:
        raise BadInput(f"{choice.uri}: no tables in this folder ({', '.join(table.SUFFIXES)})")
    names = {one.relative_to(path).as_posix(): one for one in files}
    parts = splits.of_files(choice, list(names), str(choice.uri))
    training, held = (_rows([names[name] for name in part], choice, task) for part in (parts.training, parts.held_out))
    digest = storage.tree_digest(storage.digests_of(path))
    return text_set(training, held, choice, digest, "text-table", parts.words, task)


def _rows(paths: Sequence[Path], choice: DatasetChoice, task: TrainingTask) -> list[Row]:
    return [row for path in paths for row in table.read(path, choice, task)]


def text_set(
    rows: Sequence[Row],
    held: Sequence[Row],
    choice: DatasetChoice,
    digest: str,
    name: str,
    words: str = "",
    task: TrainingTask = TrainingTask.CLASSIFICATION,
) -> TextSet:
    """Rows as a data set; without rows that are held out, those that a column names, or a fifth, of each class."""
    rows, held, words = divided(rows, held, choice, words)
    names, labels = learned([*rows, *held], choice, task)
    labels_of = [labels[: len(rows)], labels[len(rows) :]]
    if not held:
        rows, held, labels_of = _fifth(rows, labels, task)
    tokenizer = Tokenizer(choice.tokenizer)
    texts = [
        labelled([row.text for row in part], own, tokenizer, choice.sequence_length)
        for part, own in zip((rows, held), labels_of, strict=True)
    ]
    reference = DatasetReference(
        name=name, uri=choice.uri, digest=digest, training_samples=len(rows), held_out_samples=len(held)
    )
    both = len({row.text for row in rows} & {row.text for row in held})
    again = (f"{both} texts are in both parts, which flatters the figures",) if both else ()
    taken = (words or fifth_in_words(task), what_is_learned(names, labels_of[0], task), *again)
    made = TextSet(texts[0], texts[1], names, tokenizer, choice.sequence_length, reference, taken=taken, task=task)
    return checked(made, choice)


def learned(rows: Sequence[Row], choice: DatasetChoice, task: TrainingTask) -> tuple[tuple[str, ...], "Array"]:
    """Names of what is learned, and each row's target."""
    if task is not TrainingTask.CLASSIFICATION:
        found = targets_of([row.values for row in rows], table.label_columns(choice), task, str(choice.uri))
        return found.names, found.values
    names = _names(rows, choice)
    places = {label: number for number, label in enumerate(names)}
    return names, np.asarray([places[row.label] for row in rows], np.int64)


def _fifth(rows: Sequence[Row], labels: "Array", task: TrainingTask) -> "tuple[list[Row], list[Row], list[Array]]":
    """A fifth of the rows held out: of each class, where there are classes."""
    kept, out = held_out_fifth(labels, task)
    return [rows[index] for index in kept], [rows[index] for index in out], [labels[kept], labels[out]]


def held_out_fifth(labels: "Array", task: TrainingTask) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]":
    """Places of what is trained on and of what is held out."""
    kinds = labels if task is TrainingTask.CLASSIFICATION else np.zeros(len(labels), np.int64)
    return stratified_split(kinds, HELD_OUT)


def fifth_in_words(task: TrainingTask) -> str:
    """Description of the part that is held out where nothing names one."""
    return "one fifth of each class held out" if task is TrainingTask.CLASSIFICATION else "one fifth held out"


def what_is_learned(names: tuple[str, ...], labels: "Array", task: TrainingTask) -> str:
    """Description of the training samples' targets for the log and the report."""
    if task is TrainingTask.CLASSIFICATION:
        return counted([names[label] for label in labels])
    return said(Targets(names, labels), task)


def divided(
    rows: Sequence[Row], held: Sequence[Row], choice: DatasetChoice, words: str
) -> tuple[Sequence[Row], Sequence[Row], str]:
    """Rows to train on and rows held out, by the column that says so where there is one; and that in words."""
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
            "If they are numbers to be estimated, set recipe.task: regression; else make classes of them, or name "
            "another column by dataset.columns.label"
        )
    return names


def _fraction(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "." in text or "e" in text.lower()
