"""Storage of a corpus's tokens in a file of this node: written once, some at a time, and mapped by every process.

Its name is a digest of text and tokenizer, so the other processes of the node, and the next run, find it: the first
one writes, behind a lock, the others wait. SLIPWAY_CACHE_DIR names the folder; where nothing can be written the tokens
are kept in memory, two or four bytes each.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.data.texts.text_blocks import Blocks, pieces

if TYPE_CHECKING:
    import numpy.typing as npt

    from workloads.data.texts.text import Tokenizer

    Tokens = npt.NDArray[Any]

CACHE = "SLIPWAY_CACHE_DIR"
FORMAT = "1"
KEPT = 8  # files; the ones that were used last
TOGETHER = 1 << 20  # characters that are tokenized together, by as many threads as there are cores

Texts = Callable[[], Iterable[Blocks]]


def cached(texts: Texts, tokenizer: "Tokenizer", identity: str) -> "Tokens":
    """All texts as tokens, each closed by the ending one; read-only, of the smallest type that fits the vocabulary.

    `identity` says which texts these are, apart from the tokenizer. BadInput as the texts' reading has it.
    """
    dtype = np.dtype(np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.int32)
    known = "\n".join([FORMAT, identity, tokenizer.digest, dtype.name])
    try:
        folder = _folder()
        path = folder / f"{hashlib.sha256(known.encode()).hexdigest()}.tokens"
        with _alone(path.with_suffix(".lock")):
            if not path.exists():
                _write(path, encoded(texts(), tokenizer, dtype))
                _prune(folder)
        os.utime(path)
        return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)
    except OSError as error:
        print(f"warning: tokens are kept in memory, {CACHE} cannot be written ({error})", flush=True)
        parts = list(encoded(texts(), tokenizer, dtype))
        return np.concatenate(parts) if parts else np.empty(0, dtype)


def encoded(texts: Iterable[Blocks], tokenizer: "Tokenizer", dtype: "np.dtype[Any]") -> "Iterator[Tokens]":
    """Arrays of tokens, one after the other."""
    held: list[str | None] = []
    size = 0
    for text in texts:
        for piece in pieces(text):
            held.append(piece)
            size += len(piece)
            if size >= TOGETHER:
                yield from _together(held, tokenizer, dtype)
                held, size = [], 0
        held.append(None)
        size += 1
    yield from _together(held, tokenizer, dtype)


def _together(held: list[str | None], tokenizer: "Tokenizer", dtype: "np.dtype[Any]") -> "Iterator[Tokens]":
    found = iter(tokenizer.encode_all([piece for piece in held if piece is not None]))
    end = np.asarray([tokenizer.end], dtype)
    for piece in held:
        yield end if piece is None else next(found).astype(dtype)


def _folder() -> Path:
    """Folder of this user alone: what another one has put there would be learned."""
    asked = os.environ.get(CACHE)
    folder = Path(asked) if asked else Path(tempfile.gettempdir()) / f"slipway-cache-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = folder.lstat()
    if not asked and (said.st_uid != os.getuid() or not stat.S_ISDIR(said.st_mode) or said.st_mode & 0o022):
        raise PermissionError(f"{folder} is not this user's own")
    return folder


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that one process of the node can hold at a time; a killed one holds nothing."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, parts: "Iterable[Tokens]") -> None:
    staged = path.with_suffix(".partial")
    try:
        with staged.open("wb") as file:
            for part in parts:
                file.write(part.tobytes())
        staged.rename(path)
    finally:
        staged.unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    """Remove all but the last used token files; a process that has an old one mapped keeps it."""
    found = sorted(folder.glob("*.tokens"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in found[KEPT:]:
        for path in (old, old.with_suffix(".lock")):
            path.unlink(missing_ok=True)
