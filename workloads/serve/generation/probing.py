"""Replay of an artifact's probes in the engine that serves: proof that what answers is what was judged.

A silently ignored adapter, a broken kernel or other number formats are seen here, before the first client.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from workloads.errors import BadInput
from workloads.language.probes import Answer, Probe, Verdict, compared
from workloads.serve.generation.messages import Engine, Piece, Prompt, Sampling

NUMBERS = itertools.count(1 << 40)  # that no client's answer has


class ProbesFailed(BadInput):
    """The engine answers otherwise than the model did when it was judged; it begins with the reason."""


@dataclass
class _Collected:
    """One answer as it comes."""

    done: asyncio.Future[None]
    tokens: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def piece(self, piece: Piece) -> None:
        """More of it."""
        self.tokens += piece.tokens
        self.values += piece.log_probabilities
        if self.done.done():
            return
        if piece.error:
            self.done.set_exception(ProbesFailed(f"ProbeMismatch: the engine fails on a probe: {piece.error}"))
        elif piece.finish:
            self.done.set_result(None)


async def replay(engine: Engine, probes: Sequence[Probe], adapter: str = "") -> list[Answer]:
    """The engine's greedy answers, all at once, as long as those that were recorded."""
    loop = asyncio.get_running_loop()
    collected = []
    for probe in probes:
        sampling = Sampling(len(probe.answer.tokens), temperature=0.0, ignore_end=True, seed=0)
        collected.append(_Collected(loop.create_future()))
        engine.add(Prompt(next(NUMBERS), probe.prompt, sampling, adapter), collected[-1])
    await asyncio.gather(*(one.done for one in collected))
    return [Answer(one.tokens, one.values) for one in collected]


async def prove(engine: Engine, probes: Sequence[Probe], context: int, adapter: str = "") -> Verdict:
    """The verdict on probes that fit into the context. Raises ProbesFailed with the reason first."""
    fitting = [probe for probe in probes if len(probe.prompt) + len(probe.answer.tokens) <= context]
    if not fitting:
        raise ProbesFailed(f"ProbeMismatch: no probe fits into a context of {context} tokens: raise maxModelLength")
    verdict = compared(fitting, await replay(engine, fitting, adapter))
    if verdict.reason:
        of = f" of the adapter {adapter}" if adapter else ""
        raise ProbesFailed(f"{verdict.reason}: probes{of}: {verdict.words}")
    return verdict
