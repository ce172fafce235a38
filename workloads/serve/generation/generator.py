"""Generator: answers that wait, that an engine makes, and their ends. The one place that all routes call.

Each answer ends exactly once: whole, by an error, or because its client is gone. Races: an engine's process may die
with many of them (they end in an error each, the waiting ones go on), and a piece may still come for an answer that
has ended (engines forget whom they cancel).
"""

import asyncio
import itertools
import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from workloads.serve.errors import DeadlineExceeded, EngineFailed, NotReady, QueueFull, RequestError
from workloads.serve.generation.answer import Answer
from workloads.serve.generation.limits import Limits
from workloads.serve.generation.messages import Engine, Piece, Prompt, Sampling
from workloads.serve.generation.metrics import GenerationMetrics
from workloads.serve.generation.openai.replies import Choice
from workloads.serve.generation.text.detokenizer import Decode
from workloads.serve.generation.token_queue import Full, TokenQueue

LOG = logging.getLogger("slipway.serve")

LONGEST_WAIT = 60  # seconds that Retry-After says at most


@dataclass
class _Work:
    """An answer and what is known of its request."""

    prompt: Prompt
    job: "Job"
    answer: Answer
    begun: float = 0.0
    first: float = 0.0
    last: float = 0.0
    tokens: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class Job:
    """A request's answers. `part` gets each of their parts, `failed` the error that ends all of them."""

    part: Callable[[Choice], None]
    failed: Callable[[RequestError], None]
    asked: float
    tell: bool = False  # each token's own log-probability, too
    seen: Callable[[Sequence[int], Sequence[int], Sequence[float]], None] | None = None  # each answer, when it is whole
    counted: bool = True  # among the times that are shown
    numbers: set[int] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None
    over: bool = False

    def end(self) -> None:
        """Nothing more comes."""
        self.over = True
        if self.timer is not None:
            self.timer.cancel()


class Generator:
    """Answers of one engine."""

    def __init__(self, engine: Engine, decode: Decode, limits: Limits, metrics: GenerationMetrics) -> None:
        self.engine = engine
        self.limits = limits
        self.metrics = metrics
        self.queue = TokenQueue(limits.waiting_tokens, limits.running_tokens, limits.sequences)
        self._decode = decode
        self._numbers = itertools.count(1)
        self._works: dict[int, _Work] = {}
        self._speed = 0.0  # prompt tokens that begin in a second, a running mean
        self._begun_at = time.monotonic()
        self.closed = False

    def start(
        self,
        prompts: Sequence[Sequence[int]],
        samplings: Sequence[Sampling],
        stops: Sequence[str],
        n: int,
        job: Job,
        adapter: str = "",
    ) -> Job:
        """Begin n answers to each prompt, numbered one after the other. Raises QueueFull or NotReady."""
        if self.closed or self.engine.broken:
            raise NotReady(self.engine.broken or "the server is ending", 1)
        offered: list[int] = []
        try:
            for place, (tokens, sampling) in enumerate(zip(prompts, samplings, strict=True)):
                made = [self._work(job, place * n + choice, tokens, sampling, stops, adapter) for choice in range(n)]
                self.queue.offer([work.prompt.id for work in made], len(tokens), sampling.max_tokens)
                offered += [work.prompt.id for work in made]
                self._works.update((work.prompt.id, work) for work in made)
        except Full as error:
            for number in offered:
                self._forget(number)
            raise QueueFull(f"too many requests: {error}, try again later", self._wait(error.tokens)) from None
        job.numbers = set(offered)
        job.timer = asyncio.get_running_loop().call_later(self.limits.timeout, self._late, job)
        self._go_on()
        return job

    def _work(
        self, job: Job, index: int, tokens: Sequence[int], sampling: Sampling, stops: Sequence[str], adapter: str
    ) -> _Work:
        seed = sampling.seed if sampling.seed is not None else secrets.randbits(32)
        chosen = replace(sampling, seed=(seed + index) % 2**32)
        prompt = Prompt(next(self._numbers), tokens, chosen, adapter)
        return _Work(
            prompt, job, Answer(index, self._decode, stops, chosen.stop_tokens, job.part, tokens, tell=job.tell)
        )

    def cancel(self, job: Job) -> None:
        """Nobody waits for these answers any more."""
        if job.over:
            return
        job.end()
        for number in list(job.numbers):
            self._stop(number)
        job.numbers.clear()
        self._go_on()

    def piece_of(self, number: int, piece: Piece) -> None:
        """Take more of an answer."""
        work = self._works.get(number)
        if work is None:
            return
        if piece.error:
            self._fail(work.job, EngineFailed(piece.error))
            return
        self._timed(work, len(piece.tokens))
        if work.job.seen is not None:
            work.tokens += piece.tokens
            work.values += piece.log_probabilities
        work.answer.piece(piece)
        if not work.answer.finish:
            return
        if not piece.finish:
            self.engine.cancel(number)  # a stop string: the engine does not know
        self._forget(number)
        work.job.numbers.discard(number)
        if work.job.seen is not None and len(work.tokens) == len(work.values):
            work.job.seen(work.prompt.tokens, work.tokens, work.values)
        further = work.answer.completion_tokens - 1
        if further > 0 and work.job.counted:
            self.metrics.mean_token.observe((work.last - work.first) / further)
        self.metrics.finished(work.answer.finish, len(work.prompt.tokens), work.answer.completion_tokens)
        if not work.job.numbers:
            work.job.end()
            self.metrics.request.observe(time.monotonic() - work.job.asked)
        self._go_on()

    def close(self) -> None:
        """End all answers: the server's time is over."""
        self.closed = True
        for work in list(self._works.values()):
            if not work.job.over:
                self._fail(work.job, NotReady("the server ended before the answer was whole"))

    def _late(self, job: Job) -> None:
        self._fail(job, DeadlineExceeded(f"the answer was not whole within {self.limits.timeout:g} s"))

    def _fail(self, job: Job, error: RequestError) -> None:
        if job.over:
            return
        self.cancel(job)
        self.metrics.failed(error.reason)
        job.failed(error)

    def _stop(self, number: int) -> None:
        if self._forget(number):
            self.engine.cancel(number)

    def _forget(self, number: int) -> bool:
        self._works.pop(number, None)
        return self.queue.remove(number)

    def _go_on(self) -> None:
        if self.engine.broken:
            for work in list(self._works.values()):
                self._fail(work.job, EngineFailed(self.engine.broken))
            return
        for number in self.queue.begin():
            work = self._works[number]
            work.begun = time.monotonic()
            self.metrics.queue.observe(work.begun - work.job.asked)
            self._paced(len(work.prompt.tokens), work.begun)
            try:
                self.engine.add(work.prompt, _Receiver(self, number))
            except Exception as error:  # of whatever kind: its place in the engine must not stay taken for good
                LOG.exception("an answer could not be begun")
                self._fail(work.job, EngineFailed(f"the engine does not take it: {error}"))

    def _paced(self, tokens: int, now: float) -> None:
        elapsed = max(now - self._begun_at, 1e-3)
        self._begun_at = now
        self._speed = 0.9 * self._speed + 0.1 * tokens / elapsed

    def _wait(self, tokens: int) -> int:
        """Seconds after which the tokens that wait have most likely begun."""
        return max(1, min(LONGEST_WAIT, math.ceil(tokens / max(self._speed, 1.0))))

    def _timed(self, work: _Work, tokens: int) -> None:
        if not tokens or not work.job.counted:
            return
        now, metrics = time.monotonic(), self.metrics
        if not work.first:
            work.first = now
            metrics.first_token.observe(now - work.job.asked)
            metrics.prompt_tokens += len(work.prompt.tokens)
        else:
            for _ in range(tokens):
                metrics.next_token.observe((now - work.last) / tokens)
        work.last = now
        metrics.generation_tokens += tokens


class _Receiver:
    """Receiver of one answer's pieces."""

    __slots__ = ("_generator", "_number")

    def __init__(self, generator: Generator, number: int) -> None:
        self._generator, self._number = generator, number

    def piece(self, piece: Piece) -> None:
        """More of it."""
        self._generator.piece_of(self._number, piece)
