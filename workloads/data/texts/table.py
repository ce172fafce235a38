"""Rows of a table, from the files that people have: CSV of any separator and encoding, JSON, Parquet, Arrow.

What is missing is told by the number of its row: a class that nobody gave is none, and neither is a text.
"""

import collections
import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.common.sources import Columns, DatasetChoice, OnBadSample
from slipway.api.training.learning.task import TrainingTask
from workloads.data.targets import is_missing
from workloads.data.texts import text_blocks
from workloads.errors import BadInput
from workloads.libraries import TEXT, optional

ARROW = (".arrow", ".feather", ".ipc")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", *ARROW)
SEPARATORS = (",", ";", "\t", "|")
SHOWN = 5  # rows named in a message


@dataclass(frozen=True)
class Row:
    """One sample. `split` is the value of the table's column for it, where there is one."""

    text: str
    label: str
    split: str = ""
    values: tuple[Any, ...] = ()
    """Values of the label columns as they are, for other tasks than one class."""


def kind_of(path: Path) -> str:
    """The suffix that says how it is read, without .gz; empty for none of them."""
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def text_of(path: Path) -> str:
    """A file's text: UTF-8 with or without a byte-order mark, UTF-16 with one, gzip or not. BadInput for others."""
    return "".join(text_blocks.read(path))


ONE_CLASS = TrainingTask.CLASSIFICATION


def read(path: Path, choice: DatasetChoice, task: TrainingTask = ONE_CLASS, *, pictures: bool = False) -> list[Row]:
    """All rows. BadInput names the rows without text or label, or the columns that there are."""
    return checked(records(path), choice, str(path), task, pictures=pictures)


def label_columns(choice: DatasetChoice) -> list[str]:
    """Columns of what is learned."""
    columns = choice.columns or Columns()
    return columns.labels or [columns.label]


def checked(
    records: Iterable[Mapping[str, Any]],
    choice: DatasetChoice,
    where: str,
    task: TrainingTask = ONE_CLASS,
    *,
    pictures: bool = False,
) -> list[Row]:
    """Records as rows, by dataset.columns. `dataset.onBadSample: Skip` leaves out what is missing.

    `pictures`: a row's text is the path of a picture. A sample of several labels may have none.
    """
    columns, wanted = choice.columns or Columns(), label_columns(choice)
    content = columns.file if pictures else columns.text
    found: list[Row] = []
    plain = [content, *wanted[:1]] if task is ONE_CLASS else [content]
    missing: dict[str, list[int]] = {content: [], **{name: [] for name in wanted}}
    needed = [content] if task is TrainingTask.MULTI_LABEL else list(missing)
    number = 0
    for number, record in enumerate(records, start=1):
        if any(name not in record for name in missing):
            _require_columns(record, list(missing), where, number, "file" if pictures else "text")
        bad = [name for name in needed if is_missing(record.get(name))]
        for name in bad:
            missing[name].append(number)
        if not bad:
            _require_words(record, plain, where, number)
            values = tuple(record.get(name) for name in wanted)
            # One letter may be written in two ways: a Mac's "é" is no other class.
            label = unicodedata.normalize("NFC", _word(values[0]).strip()) if task is ONE_CLASS else ""
            found.append(Row(_word(record[content]), label, _word(record.get(columns.split, "")).strip(), values))
    told = [f"{_numbers(rows)} without {name}" for name, rows in missing.items() if rows]
    if told and choice.on_bad_sample is not OnBadSample.SKIP:
        words = "fill it in, remove them, or set dataset.onBadSample: Skip"
        raise BadInput(f"{where}: {' and '.join(told)}: {words}")
    if told:
        print(f"warning: {where}: {' and '.join(told)}, skipped", flush=True)
    if not found:
        raise BadInput(f"{where}: there are no rows with a {' and a '.join(missing)}")
    return found


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else "" if value is None else str(value)


def _require_words(record: Mapping[str, Any], names: Sequence[str], where: str, number: int) -> None:
    """BadInput for a value that is no text, number or date: written as Python writes it, it would be learned so."""
    for name in names:
        value = record[name]
        if isinstance(value, list | tuple | dict | set) or hasattr(value, "__array__"):
            several = "; for several labels a sample set recipe.task: multi-label" if name != names[0] else ""
            raise BadInput(
                f"{where}: {name} of row {number} is a {type(value).__name__}: make one text of it, or name another "
                f"column by dataset.columns{several}"
            )
        try:
            _word(value).encode()
        except UnicodeError as error:
            raise BadInput(f"{where}: {name} of row {number} is not text that UTF-8 has ({error}): mend it") from error


def _numbers(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:SHOWN]))}{more}"


def _require_columns(record: Mapping[str, Any], wanted: Sequence[str], where: str, number: int, what: str) -> None:
    known = [str(name) for name in record if name is not None]
    absent = [name for name in wanted if name not in record]
    # A JSON object may leave out what it has no value for; a table's header may not.
    if number > 1 and len(absent) < len(wanted):
        return
    raise BadInput(
        f"{where}: there is no column {' and no column '.join(absent)}, but {', '.join(known[:8]) or 'none'}: "
        f"name them by dataset.columns: {{{what}: ..., label: ...}}"
    )


def records(path: Path) -> Iterable[Mapping[str, Any]]:
    """Rows of a file as they are. BadInput for what is no table."""
    kind = kind_of(path)
    if kind == ".parquet":
        library = optional("pyarrow.parquet", "a .parquet table is read by pyarrow", TEXT)
        try:
            return _arrow_rows(library.ParquetFile(path).read(), path)
        except (ValueError, OSError) as error:  # pyarrow's own are of this kind
            raise BadInput(f"{path}: not a whole Parquet file ({error}): write it again") from error
    if kind in ARROW:
        return _arrow_rows(_arrow_table(path), path)
    text = text_of(path)
    if kind in {".csv", ".tsv"}:
        return _delimited(text, path, "\t" if kind == ".tsv" else _separator(text))
    return _objects(text, path)


def _arrow_table(path: Path) -> Any:
    """A table of Arrow's file form, which Feather is, or of its stream."""
    library = optional("pyarrow.ipc", f"a {kind_of(path)} table is read by pyarrow", TEXT)
    try:
        with path.open("rb") as file:
            opened = library.open_file if file.read(6) == b"ARROW1" else library.open_stream
            file.seek(0)
            return opened(file).read_all()
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(f"{path}: not a whole Arrow file ({error}): write it again") from error


def _arrow_rows(found: Any, path: Path) -> list[Mapping[str, Any]]:
    names = [str(name) for name in found.column_names]
    _require_once(names, path)
    rows: list[Mapping[str, Any]] = found.to_pylist()
    return rows


def _require_once(names: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"{path}: the column {twice[0]} is there {names.count(twice[0])} times: rename all but one")


def _separator(text: str) -> str:
    """Separator of the header: the one that is there most often, outside of quotes."""
    header = text.split("\n", maxsplit=1)[0]
    outside = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=outside.count) if any(one in outside for one in SEPARATORS) else ","


def _reader(text: str, separator: str) -> "csv.DictReader[str]":
    """Reader of a table. Strict: else a quote that is never closed makes one text of all rows until the next one.

    A table of tabs may not know quotes at all, and many texts begin with one.
    """
    quoted = True
    try:
        if separator == "\t":
            collections.deque(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), maxlen=0)
    except csv.Error:
        quoted = False
    lines = io.StringIO(text, newline="")
    if quoted:
        return csv.DictReader(lines, delimiter=separator, strict=True)
    return csv.DictReader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)


def _delimited(text: str, path: Path, separator: str) -> list[dict[str, Any]]:
    before = csv.field_size_limit(2**31 - 1)
    try:
        reader = _reader(text, separator)
        names = [name for name in reader.fieldnames or [] if name]
        _require_once(names, path)
        found = list(reader)
        long = [place for place, row in enumerate(found, start=1) if any(row.get(None) or [])]
        if long:
            raise BadInput(
                f"{path}: {_numbers(long)} with more values than the {len(names)} columns: put texts that hold "
                f"{separator!r} between double quotes"
            )
        return found
    except csv.Error as error:
        raise BadInput(
            f"{path}: after line {reader.line_num}: not a table of columns separated by {separator!r} ({error}): a text"
            " that begins with a double quote ends with one, and one inside of it is written twice"
        ) from error
    finally:
        csv.field_size_limit(before)


def _objects(text: str, path: Path) -> list[Mapping[str, Any]]:
    whole = text.lstrip().startswith("[")
    pieces = [(1, text)] if whole else [(n, one) for n, one in enumerate(text.split("\n"), start=1) if one.strip()]
    found: list[Any] = []
    for number, piece in pieces:
        try:
            found += json.loads(piece) if whole else [json.loads(piece)]
        except json.JSONDecodeError as error:
            raise BadInput(f"{path}: line {number + error.lineno - 1} is not JSON ({error.msg})") from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
            raise BadInput(f"{path}: line {number} is JSON that nobody can read ({error})") from error
    wrong = next((at for at, one in enumerate(found, start=1) if not isinstance(one, dict)), None)
    if wrong is not None:
        raise BadInput(f"{path}: record {wrong} is no object with the fields text and label")
    return list(found)
