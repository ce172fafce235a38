"""Texts through the batcher: tokenized, grouped by length, computed, put back into their order.

Tokenizing a few short texts takes less than handing them to a thread; anything longer is done on threads, so many at a
time, and no more is taken than a server can hold.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from slipway.api.common.artifact import Pooling, Task
from workloads.pod.cpus import cpu_limit
from workloads.serve.batcher import Ticket
from workloads.serve.datatypes import Array
from workloads.serve.errors import Invalid, QueueFull, TooLarge
from workloads.serve.protocol.inference_request import InferenceRequest, in_order
from workloads.serve.service import Service
from workloads.serve.text.inputs import MOST_CHARACTERS, MOST_TEXTS, TextInputs
from workloads.serve.tokenizer.tokens import Row, Tokens
from workloads.serve.worker import Inputs, Outputs

SHORT = 2000  # characters that are tokenized at once
MOST_WAITING = 64  # requests that wait for a thread, or are on one
VECTOR = "sentence_embedding"


@dataclass(frozen=True)
class Answer:
    """`outputs` in the model's order, a row for each text; `rows` what the texts became."""

    outputs: list[Array]
    rows: Sequence[Row]
    tickets: Sequence[Ticket[Inputs, Outputs]]


class Texts:
    """Texts of one served model."""

    def __init__(self, service: Service, tokens: Tokens) -> None:
        self._service = service
        self._tokens = tokens
        self._how = tokens.how
        artifact = service.model.artifact
        self._vectors = artifact is not None and artifact.task is Task.EMBEDDING
        self._waiting = 0
        self._threads = ThreadPoolExecutor(math.ceil(cpu_limit()), thread_name_prefix="texts")

    @property
    def pairs(self) -> bool:
        """True if two texts can be one row."""
        return self._tokens.pairs

    @property
    def limit(self) -> int:
        """Tokens of a text; what is beyond is cut off."""
        return self._tokens.limit

    def check(self, given: TextInputs) -> None:
        """Check texts. Raises Invalid or TooLarge before anything is worked on."""
        most = min(MOST_TEXTS, self._service.batcher.limits.max_queue_size)
        if not given.texts:
            raise Invalid("there is no text in the request")
        if len(given.texts) > most:
            raise Invalid(f"{len(given.texts)} texts: {most} fit into one request")
        if given.seconds is not None and not self.pairs:
            raise Invalid("this model takes one text, not two")
        characters = sum(map(len, given.texts)) + sum(map(len, given.seconds or ()))
        if characters > MOST_CHARACTERS:
            raise TooLarge(f"{characters} characters of text: {MOST_CHARACTERS} fit into one request")
        if self._waiting >= MOST_WAITING:
            raise QueueFull("too many requests wait for their texts to become tokens", 1)

    async def answer(self, given: TextInputs) -> Answer:
        """The model's outputs for texts that `check` has passed."""
        rows = await self._rows(given)
        groups: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            groups[self._tokens.length_of(row)].append(place)
        most = self._service.batcher.limits.max_batch_size
        parts = [
            (length, places[start : start + most])
            for length, places in sorted(groups.items())
            for start in range(0, len(places), most)
        ]
        tickets = self._submit(given, rows, parts)
        outputs = await self._all(tickets)
        return Answer(self._merged(rows, parts, outputs), rows, tickets)

    async def _rows(self, given: TextInputs) -> list[Row]:
        if sum(map(len, given.texts)) + sum(map(len, given.seconds or ())) <= SHORT:
            return self._tokens.encode(given.texts, given.seconds)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._tokens.encode, given.texts, given.seconds)
        finally:
            self._waiting -= 1

    def _submit(
        self, given: TextInputs, rows: Sequence[Row], parts: Sequence[tuple[int, list[int]]]
    ) -> list[Ticket[Inputs, Outputs]]:
        tickets: list[Ticket[Inputs, Outputs]] = []
        try:
            for length, places in parts:
                arrays = self._tokens.inputs([rows[place] for place in places], length)
                inputs, count, group, size = in_order(self._service.model.signature, arrays)
                request = InferenceRequest(inputs, count, group, size, (), None, given.priority, given.timeout)
                tickets.append(self._service.submit(request))
        except BaseException:
            self._drop(tickets)
            raise
        return tickets

    async def _all(self, tickets: Sequence[Ticket[Inputs, Outputs]]) -> list[Outputs]:
        """All or none: the first that fails ends the others."""
        try:
            return list(await asyncio.gather(*(ticket.answer for ticket in tickets)))
        except BaseException:
            self._drop(tickets)
            raise

    def _drop(self, tickets: Sequence[Ticket[Inputs, Outputs]]) -> None:
        for ticket in tickets:
            self._service.batcher.abandon(ticket)

    def _merged(
        self, rows: Sequence[Row], parts: Sequence[tuple[int, list[int]]], outputs: Sequence[Outputs]
    ) -> list[Array]:
        """Rows in the request's order, without what padding gave."""
        merged = []
        vector = self._vector_place() if self._vectors else -1
        for place, tensor in enumerate(self._service.model.signature.outputs):
            found: list[Array] = [np.empty(0)] * len(rows)
            for (length, places), output in zip(parts, outputs, strict=True):
                whole = output[place]
                each = self._tokens.follows_tokens(tensor, whole, length)
                each = each or (place == vector and whole.ndim > 2 and whole.shape[1] == length)
                for number, row in enumerate(places):
                    found[row] = whole[number][: len(rows[row].tokens)] if each else whole[number]
            if place == vector:
                found = [self._vector(one) for one in found]
            if len({one.shape for one in found}) > 1:
                raise Invalid(
                    f"output {tensor.name!r} is as long as its text: send texts of one length, or one at a time"
                )
            merged.append(np.stack(found))
        return merged

    def _vector_place(self) -> int:
        return self._service.model.signature.output_places.get(VECTOR, 0)

    def _vector(self, one: Array) -> Array:
        if one.ndim > 1:
            one = one[0] if self._how.pooling is Pooling.FIRST else one.mean(axis=0)
        if self._how.normalise:
            one = one / max(float(np.linalg.norm(one)), 1e-12)
        return one

    def vector(self, answer: Answer) -> Array:
        """The vectors [texts, width] of a model whose answer they are."""
        return answer.outputs[self._vector_place()]
