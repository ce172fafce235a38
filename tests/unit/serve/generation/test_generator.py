"""Answers that an engine does not take end in an error, and leave their place to others."""

from __future__ import annotations

import time
from typing import Any

from tests.unit.runtime.waiting import until
from workloads.serve.errors import EngineFailed, RequestError
from workloads.serve.generation.generator import Generator, Job
from workloads.serve.generation.limits import Limits
from workloads.serve.generation.messages import EngineFacts, EngineStatus, Piece, Prompt, Receiver, Sampling
from workloads.serve.generation.metrics import GenerationMetrics


class Choosy:
    """Takes no prompt that begins with 13."""

    facts, status, restarts, broken = EngineFacts("choosy", "1"), EngineStatus(), 0, ""

    def add(self, prompt: Prompt, receiver: Receiver) -> None:
        if prompt.tokens[0] == 13:
            raise TypeError("Integer exceeds 64-bit range")
        receiver.piece(Piece([7], [-1.0], finish="length"))

    def cancel(self, number: int) -> None:
        pass


async def test_an_answer_that_the_engine_does_not_take_keeps_no_place() -> None:
    """A number of 70 bits among stop_token_ids: 64 such requests, and the server answered nobody any more."""
    engine: Any = Choosy()
    generator = Generator(
        engine, lambda tokens: "x" * len(tokens), Limits(64, 512, sequences=2), GenerationMetrics("m")
    )
    errors: list[RequestError] = []
    answers: list[Any] = []
    for first in (13, 13, 13, 5, 13, 5):
        job = Job(answers.append, errors.append, time.monotonic())
        generator.start([[first, 6]], [Sampling(1)], (), 2, job)
    await until(lambda: len(answers) >= 4)
    assert len(errors) == 4
    assert all(isinstance(error, EngineFailed) and "64-bit" in str(error) for error in errors)
    queue = generator.queue
    assert (queue.running, queue.waiting, queue.running_tokens, queue.waiting_tokens) == (0, 0, 0, 0)
