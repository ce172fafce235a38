"""Pictures off the event loop: bounded in memory, clients in turn, within the request's time.

Small ones on threads, larger ones in processes: a decoder comes back to the interpreter again and again, and a thread
of low priority that has it and no core would keep everybody waiting. The longer a picture takes, the lower is the
priority of its process: small ones never wait for larger ones. Of the largest so few are decoded at once that their
memory is bounded: LARGE_PROCESSES x pictures.MOST_BYTES.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from slipway.api.common.artifact import Preprocessing
from workloads.pod.cpus import cpu_limit
from workloads.pod.slices import ask_for_short_slices
from workloads.serve.apart import Job, ProcessLane
from workloads.serve.aside import aside
from workloads.serve.datatypes import Array
from workloads.serve.errors import DeadlineExceeded, Invalid, QueueFull, RequestError
from workloads.serve.http.message import Buffer
from workloads.serve.web.pictures.detection import Geometry
from workloads.serve.web.pictures.fair_queue import Client, FairQueue
from workloads.serve.web.pictures.model_input import (
    FIRST_BYTES,
    PendingPicture,
    Pixels,
    if_small,
    refuse_at_sight,
    stacked,
)

# Requests whose pictures wait to be decoded, or are; of them, with pictures that take longer.
MOST_WAITING, MOST_MEDIUM, MOST_LARGE = 256, 48, 16
MEDIUM = 2_200_000  # pixels of a PNG; a JPEG may have six times as many
LARGE_PROCESSES = 1
SMALL_FILE = 1 << 20  # bytes of one that is looked at on a thread
AT_ONCE = 1 << 18  # numbers of pictures that are put together on the loop
MODULE = "workloads.serve.web.pictures.process"
MEDIUM_NICE, LARGE_NICE = 10, 15  # a tenth, and a thirtieth, of the others' share of a busy processor

Found = Pixels | PendingPicture | Invalid
# What is found in a picture at such a place of its request, and the seconds of CPU that it took.
Decoder = Callable[[Buffer, int], Awaitable[tuple[Found, float]]]


@dataclass(eq=False)
class _Job:
    content: Buffer
    place: int
    future: "asyncio.Future[Found]"


class _Lane:
    """Decoder of so many pictures at a time, and the line before it. From the event loop only."""

    def __init__(self, width: int, decode: Decoder) -> None:
        self._decode = decode
        self._free = width
        self._line: FairQueue[_Job] = FairQueue()
        self._running: set[asyncio.Task[None]] = set()

    def run(self, client: Client, content: Buffer, place: int) -> "asyncio.Future[Found]":
        """Cancel the future to leave the line."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._line.add(client, _Job(content, place, future))
        self._next()
        return future

    def _next(self) -> None:
        while self._free and len(self._line):
            client, job = self._line.take()
            if job.future.done():
                self._line.done(client, 0.0)
                continue
            self._free -= 1
            running = asyncio.get_running_loop().create_task(self._one(client, job))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _one(self, client: Client, job: _Job) -> None:
        seconds = 0.0
        try:
            found, seconds = await self._decode(job.content, job.place)
            if not job.future.done():
                job.future.set_result(found)
        finally:
            self._free += 1
            self._line.done(client, seconds)
            job.future.cancel()
            self._next()


class _Threads:
    """Decoder of what is small, on threads of this process."""

    def __init__(self, how: Preprocessing, threads: int) -> None:
        self._how = how
        self._pool = ThreadPoolExecutor(threads, "pictures", ask_for_short_slices)

    async def __call__(self, content: Buffer, place: int) -> tuple[Found, float]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _measured, content, self._how, place)


def _measured(content: Buffer, how: Preprocessing, place: int) -> tuple[Found, float]:
    """Result, and the thread's own seconds of CPU.

    A failure is a result: an exception holds the frames that hold it, and with them the picture, until the garbage
    collector comes.
    """
    started = time.thread_time()
    try:
        found: Found = if_small(bytes(content), how, place)
    except Exception as error:
        found = Invalid(str(error) if isinstance(error, Invalid) else f"a picture cannot be decoded: {error!r}")
    return found, time.thread_time() - started


class _Processes:
    """Decoder of what is larger, in processes that are started when the first such picture comes."""

    def __init__(self, how: Preprocessing, count: int, nice: int, most: float, largest: int) -> None:
        """`most`: cost of a picture of which more is told than its cost; `largest`: bytes of a file."""
        setup = {"how": how.model_dump(mode="json"), "largest": largest}
        self.lanes = [ProcessLane(MODULE, setup, str(nice)) for _ in range(count)]
        self._free = list(self.lanes)
        self._most = str(most).encode()

    async def __call__(self, content: Buffer, place: int) -> tuple[Found, float]:
        lane, started = self._free.pop(), time.monotonic()
        try:
            job = Job("picture", {b"place": b"%d" % place, b"most": self._most}, (content,))
            said, payload = await lane.exchange(job)
        except RequestError as error:
            # Its frames hold the picture.
            return Invalid(str(error)), time.monotonic() - started
        finally:
            self._free.append(lane)
        if "cost" in said:
            return PendingPicture(said["cost"]), 0.0
        pixels: Array = np.frombuffer(payload, dtype=np.uint8).reshape(said["shape"])
        way = said["way"]
        size = way["width"], way["height"]
        return (pixels, Geometry(tuple(way["scale"]), tuple(way["offset"]), *size)), said["seconds"]


class Decoding:
    """Decoding of pictures for one model."""

    def __init__(self, how: Preprocessing, largest: int = 64 << 20) -> None:
        """`largest`: bytes of a picture's file."""
        self._how = how
        threads, processes = math.ceil(cpu_limit()), math.ceil(cpu_limit() / 2)
        self._apart = (
            _Processes(how, processes, MEDIUM_NICE, MEDIUM, largest),
            _Processes(how, LARGE_PROCESSES, LARGE_NICE, math.inf, largest),
        )
        self._small = _Lane(threads, _Threads(how, threads))
        self._medium = _Lane(processes, self._apart[0])
        self._large = _Lane(LARGE_PROCESSES, self._apart[1])
        self._requests = 0
        self._costly = {"medium": 0, "large": 0}

    async def close(self) -> None:
        """End the processes."""
        for processes in self._apart:
            for lane in processes.lanes:
                await lane.end()

    async def to_input(
        self, pictures: Sequence[Buffer], client: Client, seconds: float
    ) -> tuple[Array, list[Geometry]]:
        """float32 [pictures, channels, height, width], and the way back.

        Invalid for what is no picture, or too large a one; QueueFull; DeadlineExceeded after `seconds`.
        """
        for place, picture in enumerate(pictures):
            refuse_at_sight(bytes(picture[:FIRST_BYTES]), self._how, place)
        if self._requests >= MOST_WAITING:
            raise QueueFull("too many pictures are being decoded", 1)
        self._requests += 1
        try:
            async with asyncio.timeout(seconds):
                pixels = await self._all(pictures, client)
                if sum(one.size for one, _ in pixels) > AT_ONCE:
                    return await aside(stacked, pixels, self._how)
                return stacked(pixels, self._how)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the request's {seconds:g} s were over while its pictures were decoded") from error
        finally:
            self._requests -= 1

    async def _all(self, pictures: Sequence[Buffer], client: Client) -> list[Pixels]:
        # To look at a large file takes a while as well.
        looks = [
            (self._small if len(picture) <= SMALL_FILE else self._medium).run(client, picture, place)
            for place, picture in enumerate(pictures)
        ]
        found = await _each(looks)
        costs = {place: one.cost for place, one in enumerate(found) if isinstance(one, PendingPicture)}
        if costs:
            with self._counted(max(costs.values())):
                later = await _each(
                    [
                        (self._medium if cost <= MEDIUM else self._large).run(client, pictures[place], place)
                        for place, cost in costs.items()
                    ]
                )
            decoded = dict(zip(costs, later, strict=True))
            found = [decoded.get(place, one) for place, one in enumerate(found)]
        return [one for one in found if not isinstance(one, PendingPicture)]

    @contextlib.contextmanager
    def _counted(self, cost: float) -> Iterator[None]:
        """Slot of a request; there are fewer with larger pictures, whose lanes are slow."""
        kind, most = ("large", MOST_LARGE) if cost > MEDIUM else ("medium", MOST_MEDIUM)
        if self._costly[kind] >= most:
            raise QueueFull("too many large pictures are being decoded: try again, or make them smaller", 1)
        self._costly[kind] += 1
        try:
            yield
        finally:
            self._costly[kind] -= 1


async def _each(futures: "Sequence[asyncio.Future[Found]]") -> list[Pixels | PendingPicture]:
    """All results; the rest leave the line when one fails, or nobody waits any more. Invalid as the first one says."""
    try:
        found: list[Pixels | PendingPicture] = []
        for future in futures:
            one = await future
            if isinstance(one, Invalid):
                raise Invalid(str(one))
            found.append(one)
        return found
    finally:
        for future in futures:
            future.cancel()
