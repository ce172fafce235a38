"""Pictures on threads: off the event loop, bounded in memory, clients in turn, within the request's time.

The longer a picture takes, the lower is the priority of its threads: small ones never wait for larger ones. Of the
largest so few are decoded at once that their memory is bounded: LARGE_THREADS x pictures.MOST_BYTES.
"""

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from slipway.api.common.artifact import Preprocessing
from workloads.pod.cpus import cpu_limit
from workloads.serve.datatypes import Array
from workloads.serve.errors import DeadlineExceeded, Invalid, QueueFull
from workloads.serve.web.pictures.detection import Geometry
from workloads.serve.web.pictures.fair_queue import Client, FairQueue
from workloads.serve.web.pictures.model_input import PendingPicture, Pixels, if_small, stacked, whole

# Requests whose pictures wait for a thread, or are on one; of them, with pictures that take longer.
MOST_WAITING, MOST_MEDIUM, MOST_LARGE = 256, 48, 16
MEDIUM = 2_200_000  # pixels of a PNG; a JPEG may have six times as many
LARGE_THREADS = 1
MEDIUM_NICE, LARGE_NICE = 10, 15  # a tenth, and a thirtieth, of the others' share of a busy processor

Work = Callable[[], Pixels | PendingPicture]
Found = Pixels | PendingPicture | Invalid


@dataclass(eq=False)
class _Job:
    work: Work
    future: "asyncio.Future[Found]"


class _Lane:
    """Threads and the line before them. From the event loop only."""

    def __init__(self, threads: int, name: str, start: Callable[[], None] | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=start)
        self._free = threads
        self._line: FairQueue[_Job] = FairQueue()

    def run(self, client: Client, work: Work) -> "asyncio.Future[Found]":
        """Cancel the future to leave the line."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._line.add(client, _Job(work, future))
        self._next()
        return future

    def _next(self) -> None:
        while self._free and len(self._line):
            client, job = self._line.take()
            if job.future.done():
                self._line.done(client, 0.0)
                continue
            self._free -= 1
            running = asyncio.get_running_loop().run_in_executor(self._pool, _measured, job.work)
            running.add_done_callback(partial(self._finished, client, job))

    def _finished(self, client: Client, job: _Job, running: "asyncio.Future[tuple[Found, float]]") -> None:
        found, seconds = running.result()
        self._free += 1
        self._line.done(client, seconds)
        if not job.future.done():
            job.future.set_result(found)
        self._next()


def _measured(work: Work) -> tuple[Found, float]:
    """Result of the work, and the thread's own seconds of CPU.

    A failure is a result: an exception holds the frames that hold it, and with them the picture, until the garbage
    collector comes.
    """
    started = time.thread_time()
    try:
        found: Found = work()
    except Exception as error:
        found = Invalid(str(error) if isinstance(error, Invalid) else f"a picture cannot be decoded: {error!r}")
    return found, time.thread_time() - started


def _step_back(nice: int) -> None:
    """This thread alone: Linux has priorities for each."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


class Decoding:
    """Decoding of pictures for one model."""

    def __init__(self, how: Preprocessing) -> None:
        self._how = how
        threads = math.ceil(cpu_limit())
        self._small = _Lane(threads, "pictures")
        self._medium = _Lane(threads, "medium-pictures", partial(_step_back, MEDIUM_NICE))
        self._large = _Lane(LARGE_THREADS, "large-pictures", partial(_step_back, LARGE_NICE))
        self._requests = 0
        self._costly = {"medium": 0, "large": 0}

    async def to_input(self, pictures: Sequence[bytes], client: Client, seconds: float) -> tuple[Array, list[Geometry]]:
        """float32 [pictures, channels, height, width], and the way back.

        Invalid for what is no picture, or too large a one; QueueFull; DeadlineExceeded after `seconds`.
        """
        if self._requests >= MOST_WAITING:
            raise QueueFull("too many pictures are being decoded", 1)
        self._requests += 1
        try:
            async with asyncio.timeout(seconds):
                return stacked(await self._all(pictures, client), self._how)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the request's {seconds:g} s were over while its pictures were decoded") from error
        finally:
            self._requests -= 1

    async def _all(self, pictures: Sequence[bytes], client: Client) -> list[Pixels]:
        looks = [
            self._small.run(client, partial(if_small, picture, self._how, place))
            for place, picture in enumerate(pictures)
        ]
        found = await _each(looks)
        costs = {place: one.cost for place, one in enumerate(found) if isinstance(one, PendingPicture)}
        if costs:
            with self._counted(max(costs.values())):
                later = await _each(
                    [self._later(client, pictures[place], place, cost) for place, cost in costs.items()]
                )
            decoded = dict(zip(costs, later, strict=True))
            found = [decoded.get(place, one) for place, one in enumerate(found)]
        return [one for one in found if not isinstance(one, PendingPicture)]

    def _later(self, client: Client, picture: bytes, place: int, cost: float) -> "asyncio.Future[Found]":
        lane = self._medium if cost <= MEDIUM else self._large
        return lane.run(client, partial(whole, picture, self._how, place))

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
