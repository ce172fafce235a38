"""Plain text whose next token is learned, as WikiText comes: files named for training and validation, or one file.

Files are UTF-8 or UTF-16, gzip or not; which are held out their names say (workloads.data.splits). Of a lone file, or
where nothing is named so, the last tenth is held out.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from slipway.api.common.artifact import DatasetReference, FileDigest
from slipway.api.common.sources import DatasetChoice
from workloads import storage
from workloads.data import splits
from workloads.data.files_below import files_below
from workloads.data.texts import text_blocks
from workloads.data.texts.text import Stream, TextSet, Tokenizer, checked, stream
from workloads.data.texts.text_blocks import Blocks
from workloads.errors import BadInput

SUFFIXES = (".txt", ".text", ".tokens", ".raw", ".md")


def _is_text(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(SUFFIXES)


def load(choice: DatasetChoice) -> TextSet:
    """The text at the choice's uri."""
    root = storage.fetch(str(choice.uri))
    paths = files_below(root, _is_text) if root.is_dir() else [root]
    if not paths:
        raise BadInput(f"{choice.uri}: no text files ({', '.join(SUFFIXES)}, or one of them with .gz)")
    found = {path.relative_to(root).as_posix() if root.is_dir() else path.name: path for path in paths}
    parts = splits.of_files(choice, list(found), str(choice.uri)) if len(found) > 1 else splits.Parts(tuple(found), ())
    files = [FileDigest(path=path.name, size=path.stat().st_size, digest=storage.sha256_of(path)) for path in paths]
    digest = storage.tree_digest(files)
    tokenizer = Tokenizer(choice.tokenizer)
    training, held_out = _streams(found, parts, tokenizer, choice.sequence_length, digest)
    reference = DatasetReference(
        name="text-files",
        uri=choice.uri,
        digest=digest,
        training_samples=len(training),
        held_out_samples=len(held_out),
    )
    used = f"{len(parts.training) + len(parts.held_out)} of {len(paths)} files used"
    taken = (used, parts.words, f"{len(training)} and {len(held_out)} samples of {choice.sequence_length} tokens")
    made = TextSet(training, held_out, (), tokenizer, choice.sequence_length, reference, taken=taken)
    return checked(made, choice)


def _streams(
    found: dict[str, Path], parts: splits.Parts, tokenizer: Tokenizer, length: int, digest: str
) -> tuple[Stream, Stream]:
    def texts(names: Sequence[str]) -> Iterator[Blocks]:
        return (text_blocks.read(found[name]) for name in names)

    def whole() -> Blocks:
        return itertools.chain.from_iterable(texts(parts.training))

    if parts.held_out:
        names = (parts.training, parts.held_out)
        first, last = (stream(partial(texts, one), tokenizer, length, f"{digest} {one}") for one in names)
        return first, last
    place = text_blocks.border(whole)
    first = stream(lambda: [text_blocks.until(whole(), place)], tokenizer, length, f"{digest} until {place}")
    return first, stream(lambda: [text_blocks.after(whole(), place)], tokenizer, length, f"{digest} from {place}")
