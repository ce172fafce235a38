"""Read series of our own out of a page in Prometheus' text format, in time linear in its length. Pure.

The page is a stranger's: prometheus_client's parser takes 26 s for one line of 80,000 labels. Lines of other names are
skipped unseen, and what is ours is bounded: lines, their length, labels in each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

# What all names that are looked for begin with.
PREFIXES = (b"slipway_", b"vllm:", b"process_start_time_seconds")
MOST_LINES = 4096
LONGEST_LINE = 1024
MOST_LABELS = 4

_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*+")
# Possessive: a value without its end is looked through once.
_LABEL = re.compile(rb'[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t]*+(,?)[ \t]*+')


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. Its value may be anything that float() takes, NaN and infinities too."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(page: bytes, names: Collection[str]) -> Iterator[Sample]:
    """The series of these names, each of which begins as PREFIXES say. Raises ValueError with words for the server."""
    text = b"\n" + page
    for prefix in PREFIXES:
        for number, line in enumerate(_lines(text, b"\n" + prefix)):
            if number == MOST_LINES:
                raise ValueError(f"more than {MOST_LINES} series of {prefix.decode()}*")
            match = _NAME.match(line)
            name = match[0].decode() if match is not None else ""
            if match is not None and name in names:
                if len(line) > LONGEST_LINE:
                    raise ValueError(f"{name} has a line of more than {LONGEST_LINE} bytes")
                yield _sample(name, line, match.end())


def _lines(text: bytes, beginning: bytes) -> Iterator[bytes]:
    start = -1
    while (start := text.find(beginning, start + 1)) >= 0:
        end = text.find(b"\n", start + 1)
        yield text[start + 1 : end if end >= 0 else len(text)]


def _sample(name: str, line: bytes, at: int) -> Sample:
    labels: dict[str, str] = {}
    if line[at : at + 1] == b"{":
        at += 1
        more = True
        while more and (match := _LABEL.match(line, at)) is not None:
            if len(labels) == MOST_LABELS:
                raise ValueError(f"{name} has more than {MOST_LABELS} labels")
            labels[match[1].decode()] = _unescaped(match[2])
            at, more = match.end(), bool(match[3])
        if line[at : at + 1] != b"}":
            raise _nonsense(line)
        at += 1
    # After the value there may be a time and an exemplar.
    value = line[at:].split(None, 1)[:1]
    try:
        return Sample(name, labels, float(value[0]))
    except (ValueError, IndexError):
        raise _nonsense(line) from None


def _unescaped(value: bytes) -> str:
    if b"\\" in value:
        value = value.replace(rb"\\", b"\0").replace(rb"\"", b'"').replace(rb"\n", b"\n").replace(b"\0", b"\\")
    return value.decode(errors="replace")


def _nonsense(line: bytes) -> ValueError:
    shown = line[:64].decode(errors="replace") + ("…" if len(line) > 64 else "")
    return ValueError(f"{shown!r} is not Prometheus' text format")
