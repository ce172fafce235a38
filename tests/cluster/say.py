"""What a person reads while a cluster comes up: which step runs, and how long a cold set-up still takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_begun = time.monotonic()
_left: dict[str, float] = {}


def expect(steps: dict[str, float]) -> None:
    """Announce steps that will run, with the seconds that each took on a 2-core machine."""
    _left.update(steps)


def say(text: str) -> None:
    """Print one line to stderr, so that stdout stays for results."""
    print(f"{time.monotonic() - _begun:6.1f}s  {text}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say that a step begins and how long all announced steps will still take, then how long this one took."""
    left = sum(_left.values())
    say(name + (f" (about {_duration(left)} of set-up left)" if left >= 5 else ""))
    begun = time.monotonic()
    yield
    _left.pop(name, None)
    took = time.monotonic() - begun
    if took >= 2:
        say(f"{name}: done in {_duration(took)}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
