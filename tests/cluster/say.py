"""What a person reads while a cluster comes up: which step runs, and how long a cold set-up still takes.

A step that takes long says every 20 seconds that it is still at it. How long each step took here is remembered, so the
second set-up of a slow machine is announced with its own times and not with those of the machine they were written on.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.paths import cache

BEAT_SECONDS = 20.0
_begun = time.monotonic()
_left: dict[str, float] = {}


def expect(steps: dict[str, float]) -> None:
    """Announce steps that will run, with the seconds that each took on a 2-core machine, or the last time here."""
    known = _remembered()
    _left.update({name: known.get(name, seconds) for name, seconds in steps.items()})


def say(text: str) -> None:
    """Print one line to stderr, so that stdout stays for results."""
    print(f"{time.monotonic() - _begun:6.1f}s  {text}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say that a step begins and how long all announced steps will still take, then how long this one took."""
    left = sum(_left.values())
    say(name + (f" (about {_duration(left)} of set-up left)" if left >= 5 else ""))
    begun, ended = time.monotonic(), threading.Event()
    beat = threading.Thread(target=_beat, args=(name, begun, _left.get(name), ended), daemon=True, name="beat")
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
    _left.pop(name, None)
    took = time.monotonic() - begun
    if took >= 2:
        say(f"{name}: done in {_duration(took)}")
        _remember(name, took)


def _beat(name: str, begun: float, usual: float | None, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        took = time.monotonic() - begun
        of = f", about {_duration(usual)} are usual" if usual else ""
        say(f"{name}: {_duration(took)} so far{of}")


def _file() -> Path:
    return cache() / "seconds.json"


def _remembered() -> dict[str, float]:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    known = found.items() if isinstance(found, dict) else ()
    return {str(name): float(took) for name, took in known if isinstance(took, int | float)}


def _remember(name: str, took: float) -> None:
    """Write it down; an estimate is worth no error, and of two set-ups at once one may be lost."""
    with contextlib.suppress(OSError):
        scratch = _file().with_suffix(".new")
        scratch.write_text(json.dumps({**_remembered(), name: round(took, 1)}, indent=1))
        scratch.replace(_file())


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
