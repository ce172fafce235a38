"""A data set in one of Hugging Face's forms, from a folder: `save_to_disk`, or parquet, csv and json files.

Columns `text` and `label` are a data set of classes, `text` alone is learned token by token. No script of the data set
is ever run: such data sets are refused by the library itself. The `text` extra has the library.
"""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from slipway.api.common.artifact import DatasetReference
from slipway.api.common.sources import Columns, DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads import storage
from workloads.data import splits
from workloads.data.files_below import files_below
from workloads.data.targets import is_missing
from workloads.data.texts.table import checked as checked_rows
from workloads.data.texts.table import label_columns
from workloads.data.texts.text import Stream, TextSet, Tokenizer, checked, stream
from workloads.data.texts.text_table import text_set
from workloads.errors import BadInput, Corrupt
from workloads.libraries import TEXT, optional

FORMATS = {".arrow": "arrow", ".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}
UNKNOWN = -1  # what Hugging Face's data sets have for the label of a sample that nobody has labelled


def _open(root: Path, choice: DatasetChoice) -> tuple[dict[str, Any], splits.Parts]:
    """Splits by name, and which are for what."""
    library = optional("datasets", "the data set hugging-face is read by datasets", TEXT)
    if (root / "dataset_dict.json").is_file() or (root / "state.json").is_file():
        opened = library.load_from_disk(str(root))
        found = dict(opened) if isinstance(opened, library.DatasetDict) else {"train": opened}
        names = sorted(found)
        parts = splits.chosen_parts(choice, names, str(root)) or splits.by_name(names, map(splits.kind_of, names))
        training = [name for name in names if splits.kind_of(name) == -1] or names
        return found, parts or splits.Parts(tuple(training), (), tuple(one for one in names if one not in training))
    paths = files_below(root, lambda name: Path(name).suffix in FORMATS)
    files = {path.relative_to(root).as_posix(): path for path in paths}
    suffixes = {path.suffix for path in files.values()}
    if len(suffixes) != 1:
        raise BadInput(f"{root}: expected save_to_disk's files, or files of one kind of {', '.join(FORMATS)}")
    parts = splits.of_files(choice, list(files), str(root))
    wanted = {"training": parts.training, "held": parts.held_out}
    named = {part: [str(files[name]) for name in names] for part, names in wanted.items() if names}
    with tempfile.TemporaryDirectory(prefix="slipway-arrow-") as cache:
        found = library.load_dataset(FORMATS[suffixes.pop()], data_files=named, cache_dir=cache, keep_in_memory=True)
    return dict(found), splits.Parts(("training",), ("held",) if parts.held_out else (), parts.unused)


def load(choice: DatasetChoice, task: TrainingTask = TrainingTask.CLASSIFICATION) -> TextSet:
    """The data set at the choice's uri."""
    root, columns = storage.fetch(str(choice.uri)), choice.columns or Columns()
    if not root.is_dir():
        raise BadInput(f"{choice.uri}: not a folder")
    try:
        found, parts = _open(root, choice)
    except (OSError, ValueError) as error:
        raise Corrupt(f"{choice.uri}: not a data set in a form that can be read ({error})") from error
    digest = storage.tree_digest(storage.digests_of(root))
    for name in (*parts.training, *parts.held_out):
        known = found[name].column_names
        if columns.text not in known:
            words = f"there is no column {columns.text}, but {', '.join(known[:8])}: name it by dataset.columns.text"
            raise BadInput(f"{choice.uri}: in {name} {words}")
    wanted = label_columns(choice)
    if task is not TrainingTask.CLASSIFICATION or all(
        set(wanted) <= set(found[name].column_names) for name in parts.training
    ):
        rows, held = (
            [
                row
                for name in names
                for row in checked_rows(_records(found[name], columns), choice, f"{choice.uri}, {name}", task)
            ]
            for names in (parts.training, parts.held_out)
        )
        return text_set(rows, held, choice, digest, "hugging-face", parts.words, task)
    return _language(found, parts, choice, digest)


def _records(split: Any, columns: Columns) -> Any:
    """Rows with their labels by name."""
    known_as = split.features.get(columns.label)
    inner = getattr(getattr(known_as, "feature", None), "names", None)  # of a list of classes
    names = getattr(known_as, "names", None)
    for row in split:
        label = row.get(columns.label)
        if isinstance(label, list):  # several labels a row
            yield {**row, columns.label: [inner[one] for one in label]} if inner else row
            continue
        known = None if label in {None, UNKNOWN} else names[label] if names else label
        yield {**row, columns.label: known} if names else row


def _language(found: dict[str, Any], parts: splits.Parts, choice: DatasetChoice, digest: str) -> TextSet:
    tokenizer, column = Tokenizer(choice.tokenizer), (choice.columns or Columns()).text

    def texts(names: Sequence[str]) -> Iterator[str]:
        """Some rows at a time; the library keeps them on the disk."""
        rows = (part[column] for name in names for part in found[name].select_columns([column]).iter(1000))
        return (str(text) for part in rows for text in part if not is_missing(text))

    def some(names: Sequence[str], first: int, last: int | None) -> Stream:
        identity = f"{digest} {column} {names} {first} {last}"
        return stream(
            lambda: ((text,) for text in islice(texts(names), first, last)), tokenizer, choice.sequence_length, identity
        )

    count = 0 if parts.held_out else sum(1 for _ in texts(parts.training))
    border = None if parts.held_out else count - max(1, count // 10)
    training = some(parts.training, 0, border if border is None else max(0, border))
    held_out = some(parts.held_out, 0, None) if border is None else some(parts.training, max(0, border), None)
    reference = DatasetReference(
        name="hugging-face",
        uri=choice.uri,
        digest=digest,
        training_samples=len(training),
        held_out_samples=len(held_out),
    )
    made = TextSet(training, held_out, (), tokenizer, choice.sequence_length, reference, taken=(parts.words,))
    return checked(made, choice)
