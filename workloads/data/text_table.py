"""Texts with a class each: a .csv, .tsv or .jsonl file with the columns `text` and `label`; one fifth is held out."""

import csv
import json
from pathlib import Path

import numpy as np

from slipway.api.artifact import DatasetReference
from slipway.api.sources import DatasetChoice
from workloads import storage
from workloads.data import stratified_split
from workloads.data.text import TextSet, Tokenizer, checked, labelled
from workloads.errors import BadInput, Corrupt

HELD_OUT = 0.2


def _rows(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            if path.suffix == ".jsonl":
                rows = [json.loads(line) for line in stream if line.strip()]
            else:
                rows = list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))
        return [(str(row["text"]), str(row["label"])) for row in rows]
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise Corrupt(f"{path}: cannot be read ({error})") from error
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path}: every row needs the columns text and label ({error!r})") from error


def load(choice: DatasetChoice) -> TextSet:
    """The table at the choice's uri."""
    path = storage.fetch(str(choice.uri))
    if path.suffix not in {".csv", ".tsv", ".jsonl"}:
        raise BadInput(f"{choice.uri}: expected a .csv, .tsv or .jsonl file")
    return classes(_rows(path), choice, storage.sha256_of(path), "text-table")


def classes(rows: list[tuple[str, str]], choice: DatasetChoice, digest: str, name: str) -> TextSet:
    """(text, label) rows as a data set of classes; one fifth of each class held out."""
    names = tuple(sorted({label for _, label in rows}))
    if len(names) < 2:
        raise BadInput(f"{choice.uri}: expected at least two classes, found {list(names)}")
    places = {label: number for number, label in enumerate(names)}
    labels = np.asarray([places[label] for _, label in rows], np.int64)
    training, held = stratified_split(labels, HELD_OUT)
    tokenizer = Tokenizer(choice.tokenizer)
    parts = [
        labelled([rows[index][0] for index in part], labels[part], tokenizer, choice.sequence_length)
        for part in (training, held)
    ]
    reference = DatasetReference(
        name=name, uri=choice.uri, digest=digest, training_samples=len(training), held_out_samples=len(held)
    )
    return checked(TextSet(parts[0], parts[1], names, tokenizer, choice.sequence_length, reference), choice)
