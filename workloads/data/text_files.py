"""Plain text whose next token is learned, as WikiText comes: files named for training and validation, or one file.

A folder holds files with `train` in their names and files with `valid`, `val` or `test`; of a lone file, or where
nothing is named so, the last tenth is held out.
"""

from pathlib import Path

from slipway.api.artifact import DatasetReference, FileDigest
from slipway.api.sources import DatasetChoice
from workloads import storage
from workloads.data.text import TextSet, Tokenizer, checked, stream
from workloads.errors import BadInput, Corrupt

SUFFIXES = {".txt", ".tokens", ".raw", ".md"}
HELD_OUT = 10
NAMES = ("valid", "val", "test")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Corrupt(f"{path}: not UTF-8 text ({error})") from error


def _split(paths: list[Path]) -> tuple[list[str], list[str]]:
    training = [path for path in paths if "train" in path.name]
    held = next(
        ([path for path in paths if name in path.name] for name in NAMES if any(name in p.name for p in paths)), []
    )
    if training and held:
        return [_text(path) for path in training], [_text(path) for path in held]
    lines = "".join(_text(path) for path in paths).splitlines(keepends=True)
    border = len(lines) - max(1, len(lines) // HELD_OUT)
    return ["".join(lines[:border])], ["".join(lines[border:])]


def load(choice: DatasetChoice) -> TextSet:
    """The text at the choice's uri."""
    root = storage.fetch(str(choice.uri))
    paths = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES) if root.is_dir() else [root]
    if not paths:
        raise BadInput(f"{choice.uri}: no text files ({', '.join(sorted(SUFFIXES))})")
    training_texts, held_texts = _split(paths)
    tokenizer = Tokenizer(choice.tokenizer)
    training = stream(training_texts, tokenizer, choice.sequence_length)
    held_out = stream(held_texts, tokenizer, choice.sequence_length)
    files = [FileDigest(path=path.name, size=path.stat().st_size, digest=storage.sha256_of(path)) for path in paths]
    reference = DatasetReference(
        name="text-files",
        uri=choice.uri,
        digest=storage.tree_digest(files),
        training_samples=len(training),
        held_out_samples=len(held_out),
    )
    return checked(TextSet(training, held_out, (), tokenizer, choice.sequence_length, reference), choice)
