"""A data set in one of Hugging Face's forms, from a folder: `save_to_disk`, or parquet, csv and json files.

Columns `text` and `label` are a data set of classes, `text` alone is learned token by token. No script of the data set
is ever run: such data sets are refused by the library itself. The `text` extra has the library.
"""

import tempfile
from pathlib import Path
from typing import Any

from slipway.api.artifact import DatasetReference
from slipway.api.sources import DatasetChoice
from workloads import storage
from workloads.data.text import TextSet, Tokenizer, checked, stream
from workloads.data.text_table import classes
from workloads.errors import BadInput, Corrupt
from workloads.libraries import TEXT, optional

SPLITS = ("validation", "valid", "test")
FORMATS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}


def _open(root: Path) -> dict[str, Any]:
    """Splits by name."""
    library = optional("datasets", "the data set hugging-face is read by datasets", TEXT)
    if (root / "dataset_dict.json").is_file() or (root / "state.json").is_file():
        found = library.load_from_disk(str(root))
    else:
        suffixes = {path.suffix for path in root.rglob("*")} & set(FORMATS)
        if len(suffixes) != 1:
            raise BadInput(f"{root}: expected save_to_disk's files, or files of one kind of {', '.join(FORMATS)}")
        suffix = suffixes.pop()
        files = sorted(path for path in root.rglob(f"*{suffix}"))
        held = [str(path) for path in files if any(split in path.name for split in SPLITS)]
        training = [str(path) for path in files if str(path) not in held]
        named = {"train": training, **({"validation": held} if held else {})}
        with tempfile.TemporaryDirectory(prefix="slipway-arrow-") as cache:
            found = library.load_dataset(FORMATS[suffix], data_files=named, cache_dir=cache, keep_in_memory=True)
    return dict(found) if isinstance(found, library.DatasetDict) else {"train": found}


def load(choice: DatasetChoice) -> TextSet:
    """The data set at the choice's uri."""
    root = storage.fetch(str(choice.uri))
    if not root.is_dir():
        raise BadInput(f"{choice.uri}: not a folder")
    try:
        splits = _open(root)
    except (OSError, ValueError) as error:
        raise Corrupt(f"{choice.uri}: not a data set in a form that can be read ({error})") from error
    digest = storage.tree_digest(storage.digests_of(root))
    if "train" not in splits or "text" not in splits["train"].column_names:
        raise BadInput(f"{choice.uri}: a split train with a column text is needed, found {sorted(splits)}")
    if "label" in splits["train"].column_names:
        rows = [(str(text), str(_label(splits["train"], label))) for text, label in _columns(splits["train"])]
        return classes(rows, choice, digest, "hugging-face")
    return _language(splits, choice, digest)


def _columns(split: Any) -> Any:
    return zip(split["text"], split["label"], strict=True)


def _label(split: Any, label: Any) -> Any:
    names = getattr(split.features["label"], "names", None)
    return names[label] if names else label


def _language(splits: dict[str, Any], choice: DatasetChoice, digest: str) -> TextSet:
    tokenizer = Tokenizer(choice.tokenizer)
    texts = [str(text) for text in splits["train"]["text"]]
    held = next((splits[name] for name in SPLITS if name in splits), None)
    border = len(texts) - max(1, len(texts) // 10)
    held_texts = [str(text) for text in held["text"]] if held is not None else texts[border:]
    training = stream(texts if held is not None else texts[:border], tokenizer, choice.sequence_length)
    held_out = stream(held_texts, tokenizer, choice.sequence_length)
    reference = DatasetReference(
        name="hugging-face",
        uri=choice.uri,
        digest=digest,
        training_samples=len(training),
        held_out_samples=len(held_out),
    )
    return checked(TextSet(training, held_out, (), tokenizer, choice.sequence_length, reference), choice)
