"""A text of any size, some kilobytes at a time: read from its file, divided at a line, cut where no token is.

What is held never grows with the text. Used by the text data sets whose next token is learned.
"""

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from workloads.errors import BadInput, Unavailable

Blocks = Iterable[str]
BLOCK = 1 << 18  # bytes that are read at a time
PIECE, LONGEST = 1 << 16, 1 << 20  # characters of what is tokenized at once; more where a text has no place to cut
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
HELD_OUT = 10


def read(path: Path) -> Iterator[str]:
    """A file's text: UTF-8 with or without a byte-order mark, UTF-16 with one, gzip or not. BadInput for others."""
    try:
        with _opened(path) as file:
            first = file.read(BLOCK)
            encoding = next((name for mark, name in BOMS if first.startswith(mark)), "utf-8")
            yield from _decoded(file, first, encoding, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{path}: not a whole gzip file ({error}): write it again") from error
    except OSError as error:
        raise Unavailable(f"{path}: cannot be read ({error})") from error


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")


def _decoded(file: IO[bytes], content: bytes, encoding: str, path: Path) -> Iterator[str]:
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    while True:
        try:
            text = decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            line = lines + bytes(error.object[: error.start]).count(b"\n")
            raise BadInput(f"{path}: line {line} is not UTF-8 ({error.reason}): save the file as UTF-8") from error
        if "\0" in text:
            line = lines + text[: text.index("\0")].count("\n")
            raise BadInput(
                f"{path}: line {line} has a byte of 0: it is UTF-16 or UTF-32 without its mark, or damaged: save it as "
                "UTF-8"
            )
        lines += text.count("\n")
        if text:
            yield text
        if not content:
            return
        content = file.read(BLOCK)


def border(text: Callable[[], Blocks]) -> int:
    """Start of a text's last tenth, as a character offset.

    At a line's beginning; in a text of few lines, which may be one paragraph of a book each, after a blank. `text` is
    read several times.
    """
    lines, count, open_line = 0, 0, False
    for block in _with_whole_ends(text()):
        lines, count = lines + _ends(block), count + len(block)
        last = block.splitlines(keepends=True)[-1]
        open_line = last == last.splitlines()[0]
    lines += open_line
    if lines >= HELD_OUT:
        return _end_of(lines - max(1, lines // HELD_OUT), text())
    at = count - count // HELD_OUT
    place, blank = 0, 0
    for block in text():
        found = block.rfind(" ", 0, at - place) if place < at else -1
        blank = place + found + 1 if found >= 0 else blank
        place += len(block)
    return blank or at


def _ends(block: str) -> int:
    """Number of lines that end in the block."""
    return len(f"{block}x".splitlines()) - 1


def _end_of(line: int, text: Blocks) -> int:
    place, seen = 0, 0
    for block in _with_whole_ends(text):
        ends = _ends(block)
        if seen + ends >= line:
            return place + sum(len(one) for one in block.splitlines(keepends=True)[: line - seen])
        place, seen = place + len(block), seen + ends
    return place


def _with_whole_ends(text: Blocks) -> Iterator[str]:
    """Blocks of the same text, none of which splits a line's end of two characters."""
    held = ""
    for block in text:
        found = (held + block).removesuffix("\r")
        held = "\r" if block.endswith("\r") else ""
        if found:
            yield found
    if held:
        yield held


def until(text: Blocks, place: int) -> Iterator[str]:
    """Text before a character offset, block by block."""
    for block in text:
        if place <= 0:
            return
        yield block[:place]
        place -= len(block)


def after(text: Blocks, place: int) -> Iterator[str]:
    """Text from a character offset on, block by block."""
    for block in text:
        if len(block) > place:
            yield block[max(0, place) :]
        place -= len(block)


def pieces(text: Blocks) -> Iterator[str]:
    """Pieces of about PIECE characters. Cut before a line, or a word, that no tokenizer joins with what is before."""
    held = ""
    for block in text:
        held += block
        while len(held) >= PIECE:
            at = _cut(held)
            if at == 0:
                break
            yield held[:at]
            held = held[at:]
    if held:
        yield held


def _cut(held: str) -> int:
    """Offset at which to cut the text's beginning; 0 where more of it is to be seen first."""
    window = held[:LONGEST]
    for mark, before in (("\n", 0), (" ", 1)):
        at = len(window)
        while (found := window.rfind(mark, 0, at)) > 0:
            at = found
            left, right = window[found - 1], window[found + 1 : found + 2]
            if right and not right.isspace() and not left.isspace():
                return found + 1 - before
            if len(window) - found > PIECE:
                break
    return LONGEST if len(held) >= LONGEST else 0
