"""Text of an answer, token by token: a character comes when its last byte has come, and none is ever taken back.

Tokens of byte-level vocabularies hold parts of characters; an emoji may take four. Decoding each by itself would write
replacement characters, decoding all of them again for each token would take quadratic time: a window is decoded, which
begins a few tokens back, since decoders treat a text's first token in their own way.
"""

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
# A character has at most four bytes, but a decoder may wait for a whole run of them; then they are no text.
HELD = 16

Decode = Callable[[Sequence[int]], str]


class Detokenizer:
    """Text of one answer. What is returned does not hang on how its tokens came in groups."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._known = 0  # tokens of the window whose text was given out

    def add(self, token: int) -> str:
        """The text that is certain with this token, often none."""
        self._window.append(token)
        text = self._decode(self._window)
        if text.endswith(REPLACEMENT) and len(self._window) - self._known < HELD:
            return ""
        return self._advance(text)

    def end(self) -> str:
        """The text of tokens that were held back: of bytes that no other follows."""
        return self._advance(self._decode(self._window)) if len(self._window) > self._known else ""

    def _advance(self, text: str) -> str:
        before = self._decode(self._window[: self._known])
        self._window = self._window[self._known :]
        self._known = len(self._window)
        return text[len(before) :]
