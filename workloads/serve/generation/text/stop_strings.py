"""Stop strings: an answer ends before the first of them, also where it lies across tokens.

The one that is whole first counts, of several that end together the longest: so the text does not hang on how it came
in pieces. What may still become a stop string is held back.
"""

from collections.abc import Sequence


class StopStrings:
    """Scanner of one answer."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """The text that can be given out, and whether a stop string has come: then nothing follows."""
        if not self._stops:
            return text, False
        held = self._held + text
        found = [(place + len(stop), place) for stop in self._stops if (place := held.find(stop)) >= 0]
        if found:
            self._held = ""
            return held[: min(found)[1]], True
        keep = self._beginning(held)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def end(self) -> str:
        """Text that was held back, when nothing follows."""
        held, self._held = self._held, ""
        return held

    def _beginning(self, text: str) -> int:
        """Characters at the text's end that a stop string begins with."""
        longest = max(map(len, self._stops)) - 1
        for size in range(min(longest, len(text)), 0, -1):
            tail = text[len(text) - size :]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
