"""Stop strings: an answer ends before the first of them, also where it lies across tokens.

The one that is whole first counts, of several that end together the longest: so the text does not hang on how it came
in pieces. What may still become a stop string is held back.
"""

from collections.abc import Sequence


class StopStrings:
    """Scanner of one answer."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._firsts = {stop[0] for stop in self._stops}
        self._longest = max(map(len, self._stops), default=1)
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
        for place in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[place] in self._firsts:
                tail = text[place:]
                if any(stop.startswith(tail) for stop in self._stops):
                    return len(tail)
        return 0
