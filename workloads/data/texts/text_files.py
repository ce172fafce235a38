"""Plain text whose next token is learned, as WikiText comes: files named for training and validation, or one file.

Files are UTF-8 or UTF-16, gzip or not; which are held out their names say (workloads.data.splits). Of a lone file, or
where nothing is named so, the last tenth is held out.
"""

from pathlib import Path

from slipway.api.common.artifact import DatasetReference, FileDigest
from slipway.api.common.sources import DatasetChoice
from workloads import storage
from workloads.data import splits
from workloads.data.table import text_of
from workloads.data.texts.text import TextSet, Tokenizer, checked, stream
from workloads.errors import BadInput

SUFFIXES = (".txt", ".text", ".tokens", ".raw", ".md")
HELD_OUT = 10


def _divided(text: str) -> tuple[str, str]:
    """By lines; a text of few lines, which may be one paragraph of a book each, at a blank near its last tenth."""
    lines = text.splitlines(keepends=True)
    if len(lines) >= HELD_OUT:
        border = len(lines) - max(1, len(lines) // HELD_OUT)
        return "".join(lines[:border]), "".join(lines[border:])
    at = len(text) - len(text) // HELD_OUT
    border = text.rfind(" ", 0, at) + 1 or at
    return text[:border], text[border:]


def _is_text(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.is_file() and not hidden and path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def load(choice: DatasetChoice) -> TextSet:
    """The text at the choice's uri."""
    root = storage.fetch(str(choice.uri))
    paths = sorted(path for path in root.rglob("*") if _is_text(path)) if root.is_dir() else [root]
    if not paths:
        raise BadInput(f"{choice.uri}: no text files ({', '.join(SUFFIXES)}, or one of them with .gz)")
    found = {path.relative_to(root).as_posix() if root.is_dir() else path.name: path for path in paths}
    parts = splits.of_files(choice, list(found), str(choice.uri)) if len(found) > 1 else splits.Parts(tuple(found), ())
    training_texts, held_texts = ([text_of(found[name]) for name in part] for part in (parts.training, parts.held_out))
    if not held_texts:
        first, last = _divided("".join(training_texts))
        training_texts, held_texts = [first], [last]
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
    used = f"{len(parts.training) + len(parts.held_out)} of {len(paths)} files used"
    taken = (used, parts.words, f"{len(training)} and {len(held_out)} samples of {choice.sequence_length} tokens")
    return checked(TextSet(training, held_out, (), tokenizer, choice.sequence_length, reference, taken=taken), choice)
