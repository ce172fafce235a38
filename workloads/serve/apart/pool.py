"""Pool of the processes that read large requests: two, started when the first large request comes.

One takes requests of any size, the other one small ones only, so that a picture need not wait for an album. Who waits
is taken by arrival and size: a request is overtaken by smaller ones for as long as it would itself be read.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from workloads.serve.apart.lane import ProcessLane
from workloads.serve.apart.wire import Job, arrays_of, asked_of, setup_of
from workloads.serve.datatypes import Array
from workloads.serve.errors import DeadlineExceeded, QueueFull
from workloads.serve.http import Request
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest.inference import Codec
from workloads.serve.signature import Signature

SMALL = 8 << 20
MOST_WAITING = 64
SECONDS_PER_BYTE = 0.1e-6
# Of a compressed body nobody knows yet what comes out of it.
COMPRESSED = 10
Form = tuple[bool, int]
READER = "workloads.serve.reading.process"
LATE = "the request's time was over while it was read"


class ReaderPool:
    """Reader of large requests in other processes: one per server. `read` from the event loop."""

    def __init__(
        self, codec: Codec, clock: Callable[[], float] = time.monotonic, texts: Mapping[Form, Signature] | None = None
    ) -> None:
        """`texts`: signatures of a model that takes them as well."""
        self._codec = codec
        self._texts = texts or {}
        self._clock = clock
        setup = setup_of(codec, bool(texts))
        self._lanes = [ProcessLane(READER, setup), ProcessLane(READER, setup)]
        self._free = [True, True]
        self._waiting: list[tuple[float, bool, asyncio.Future[int]]] = []

    async def read(self, job: Job, seconds: float) -> InferenceRequest:
        """A checked request. Raises what reading it raises, DeadlineExceeded after so long, QueueFull at once."""
        said, payload = await self._exchanged(job, seconds)
        arrays: list[Array] = []
        form, signature = said.get("form"), self._codec.signature
        if form is not None:
            signature = self._texts[form[0], form[1]]
        for array in arrays_of(said, payload, signature.inputs):
            if array is None:
                await asyncio.sleep(0)
            else:
                arrays.append(array)
        return asked_of(said, arrays, signature)

    async def inflated(self, job: Job, seconds: float) -> memoryview:
        """Decompress a body."""
        _, payload = await self._exchanged(job, seconds)
        return payload

    async def close(self) -> None:
        """End the processes."""
        for lane in self._lanes:
            await lane.end()

    async def _exchanged(self, job: Job, seconds: float) -> tuple[dict[str, Any], memoryview]:
        try:
            async with asyncio.timeout(seconds):
                number = await self._turn(job)
                try:
                    return await self._lanes[number].exchange(job)
                finally:
                    self._leave(number)
        except TimeoutError as error:
            raise DeadlineExceeded(LATE) from error

    async def _turn(self, job: Job) -> int:
        """The number of a process that is free for it."""
        size = job.size * (COMPRESSED if b"content-encoding" in job.headers else 1)
        small = size <= SMALL
        for number in (1, 0) if small else (0,):
            if self._free[number]:
                self._free[number] = False
                return number
        if len(self._waiting) >= MOST_WAITING:
            raise QueueFull("too many large requests wait to be read", 1)
        mine: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        place = (self._clock() + size * SECONDS_PER_BYTE, small, mine)
        self._waiting.append(place)
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._leave(mine.result())
            raise
        finally:
            if place in self._waiting:
                self._waiting.remove(place)

    def _leave(self, number: int) -> None:
        """Give a free process to the first request that it may read, or mark it as free."""
        suited = [place for place in self._waiting if (number == 0 or place[1]) and not place[2].done()]
        if not suited:
            self._free[number] = True
            return
        first = min(suited, key=lambda place: place[0])
        self._waiting.remove(first)
        first[2].set_result(number)


async def inflated_apart(request: Request, apart: ReaderPool, seconds: float) -> None:
    """The request's own body, in place, as `content.inflate` does with a small one."""
    request.parts = (await apart.inflated(Job("inflate", request.headers, request.parts), seconds),)
    request.headers.pop(b"content-encoding", None)
