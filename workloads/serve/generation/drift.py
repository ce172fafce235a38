"""Drift of a canary: how much less likely it finds the answers that this server has given, in nats per token.

Each answer that is chosen goes to the other server as a prompt whose log-probabilities are asked for. No labels are
needed, and a damaged model shows within some dozens of answers, whatever it would have said itself. Answers are the
unit: their tokens hang together.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import orjson
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from workloads.serve.generation.messages import Sampling
from workloads.serve.http import Request
from workloads.serve.http.message import COPY
from workloads.serve.mirror import Mirror

SCORE = b"score"  # what the header of copies says of these questions
PATH = b"/v1/completions"
Seen = Callable[[Sequence[int], Sequence[int], Sequence[float]], None]
# Whose log-probabilities are the model's own: nothing is cut off, weighed or forced.
PLAIN = Sampling(0)


class Drift(Collector):
    """Answers that were scored, and sums over them: nats that they became less likely, or more, and squares."""

    def __init__(self, mirror: Callable[[], Mirror | None], context: Callable[[], int]) -> None:
        self.answers = 0
        self.worse = self.better = self.squares = 0.0
        self._mirror, self._context = mirror, context
        self._due = 0

    def watching(self, request: Request, model: str, sampling: Sampling) -> Seen | None:
        """Give what takes an answer's log-probabilities; None where the answer is not to be scored."""
        mirror = self._mirror()
        target = mirror.target if mirror is not None else None
        if mirror is None or target is None or not target.scores or COPY in request.headers or not _plain(sampling):
            return None
        self._due += target.percent
        if self._due < 100:
            return None
        self._due -= 100
        kept = {name: value for name, value in request.headers.items() if name in {b"authorization", b"x-api-key"}}

        def seen(prompt: Sequence[int], tokens: Sequence[int], values: Sequence[float]) -> None:
            if not tokens or len(prompt) + len(tokens) + 1 > self._context():
                return
            body = {"model": model, "prompt": [*prompt, *tokens], "max_tokens": 1, "temperature": 0}
            asked = orjson.dumps({**body, "echo": True, "logprobs": 1})
            headers = {**kept, COPY: SCORE, b"content-type": b"application/json"}
            mirror.ask(Request(b"POST", PATH, headers, asked), lambda said: self.heard(said, len(prompt), values))

        return seen

    def heard(self, reply: bytes, before: int, values: Sequence[float]) -> None:
        """Take the other server's log-probabilities of the same tokens."""
        try:
            found = orjson.loads(reply)["choices"][0]["logprobs"]["token_logprobs"][before : before + len(values)]
            lost = sum(mine - float(theirs) for mine, theirs in zip(values, found, strict=True)) / len(values)
        except (ValueError, LookupError, TypeError, ZeroDivisionError):
            return
        if math.isfinite(lost):
            self.answers += 1
            self.worse += max(0.0, lost)
            self.better += max(0.0, -lost)
            self.squares += lost * lost

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's hook."""
        for name, words, value in (
            ("slipway_drift_answers", "Answers that a canary has scored.", float(self.answers)),
            ("slipway_drift_worse_nats", "Nats per token that they became less likely, added up.", self.worse),
            ("slipway_drift_better_nats", "Nats per token that they became likelier, added up.", self.better),
            ("slipway_drift_squares", "Squares of both, added up.", self.squares),
        ):
            counter = CounterMetricFamily(name, words)
            counter.add_metric([], value)
            yield counter


def _plain(sampling: Sampling) -> bool:
    same = replace(
        PLAIN,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        stop_tokens=sampling.stop_tokens,
        ignore_end=sampling.ignore_end,
        temperature=sampling.temperature,
        top_p=sampling.top_p if sampling.temperature == 0 else 1.0,
    )
    return sampling == same and sampling.temperature in {0.0, 1.0}
