"""One answer on its way: an engine's tokens in, text out, ended by stop strings, end tokens and lengths.

Called on the event loop; `deliver` gets each part that is certain, the last one with the reason of its end.
"""

from collections.abc import Callable, Sequence

from workloads.serve.generation.messages import Piece
from workloads.serve.generation.openai.replies import Choice, TokenText
from workloads.serve.generation.text.detokenizer import Decode, Detokenizer
from workloads.serve.generation.text.stop_strings import StopStrings


class Answer:
    """`finish` is empty until the end; `text` is all that was delivered."""

    def __init__(
        self,
        index: int,
        decode: Decode,
        stops: Sequence[str],
        ends: Sequence[int],
        deliver: Callable[[Choice], None],
        prompt: Sequence[int] = (),
        *,
        tell: bool = True,
    ) -> None:
        """`ends`: tokens that end an answer and are none of its text. `tell` each token's log-probability as well."""
        self._tell = tell
        self._prompt = prompt
        self.index = index
        self.completion_tokens = 0
        self.finish = ""
        self._decode = decode
        self._detokenizer = Detokenizer(decode)
        self._stops = StopStrings(stops)
        self._ends = frozenset(ends)
        self._deliver = deliver

    def piece(self, piece: Piece) -> None:
        """Take more tokens. Those behind a stop string are thrown away."""
        text, tokens = "", self._echoed(piece)
        for place, token in enumerate(piece.tokens):
            self.completion_tokens += 1
            ends = piece.finish == "stop" and place == len(piece.tokens) - 1 and token in self._ends
            found, stopped = ("", False) if ends else self._stops.add(self._detokenizer.add(token))
            text += found
            if self._tell and not ends:
                said = piece.log_probabilities[place] if place < len(piece.log_probabilities) else None
                tokens.append(TokenText(self._decode([token]), said))
            if stopped:
                self._end(text, tokens, "stop")
                return
        if not piece.finish:
            if text or tokens:
                self._deliver(Choice(self.index, text, tokens, self.completion_tokens))
            return
        rest, stopped = self._stops.add(self._detokenizer.end())
        text += rest if stopped else rest + self._stops.end()
        self._end(text, tokens, "stop" if stopped else piece.finish)

    def _echoed(self, piece: Piece) -> list[TokenText]:
        """The prompt's own tokens where their log-probabilities came; the first has none."""
        texts = [self._decode([token]) for token in self._prompt[: len(piece.prompt)]]
        values = [None, *piece.prompt[1:]]
        return [TokenText(text, value) for text, value in zip(texts, values, strict=False)]

    def _end(self, text: str, tokens: list[TokenText], finish: str) -> None:
        self.finish = finish
        self._deliver(Choice(self.index, text, tokens, self.completion_tokens, finish))
