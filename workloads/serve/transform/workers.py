"""Pool of worker processes that run own code: what waits goes by arrival, postprocessing first.

A call that outlives its request keeps its worker until the server's own longest time is over: a client that asks for
little time cannot have workers killed. Then the process is killed and another one takes its place.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workloads.errors import BadInput
from workloads.serve.apart.wire import STEP, arrays_of, packed
from workloads.serve.datatypes import Array
from workloads.serve.errors import DeadlineExceeded, Invalid, QueueFull, TransformFailed
from workloads.serve.http.message import Buffer
from workloads.serve.settings import TransformChoice
from workloads.serve.signature import Tensor
from workloads.serve.transform.forms import POSTPROCESS, PREPROCESS, check_said, described
from workloads.serve.transform.worker import Worker, WorkerEnded

LOG = logging.getLogger("slipway.serve.transform")

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between attempts to start a worker again
MOST_FAILURES = 3


@dataclass(frozen=True)
class Step:
    """One of the two callables: what goes in and what comes out."""

    name: str
    given: tuple[Tensor, ...]
    wanted: tuple[Tensor, ...]


async def _packed(tensors: Sequence[Tensor], arrays: Sequence[Array]) -> "tuple[dict[str, Any], list[memoryview]]":
    """Pack arrays, on a thread where there are many texts, each of which is an object."""
    if any(array.dtype.kind == "O" and array.size > STEP for array in arrays):
        return await asyncio.to_thread(packed, tensors, arrays)
    return packed(tensors, arrays)


class Workers:
    """Workers of one server. Used from the event loop."""

    def __init__(self, choice: TransformChoice, longest: float, most_bytes: int, most_waiting: int) -> None:
        """`longest` seconds of one call; `most_bytes` of its answer; so many calls may wait."""
        self.choice = choice
        self._longest = longest
        self._most_waiting = most_waiting
        self._workers = [Worker(choice, most_bytes) for _ in range(choice.workers)]
        self._idle: list[Worker] = []
        self._waiting: dict[str, deque[asyncio.Future[Worker]]] = {POSTPROCESS: deque(), PREPROCESS: deque()}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure = ""
        self.restarts = 0

    async def start(self) -> None:
        """Returns when all have imported the callables. BadInput in words."""
        try:
            await self._workers[0].start()  # alone: what it complains about is in the log once
            await asyncio.gather(*(worker.start() for worker in self._workers[1:]))
        except BaseException:
            await self.close()
            raise
        self._idle = list(self._workers)

    @property
    def waiting(self) -> int:
        """Calls that wait for a worker."""
        return sum(map(len, self._waiting.values()))

    @property
    def busy(self) -> int:
        """Workers that work or are being started."""
        return len(self._workers) - len(self._idle)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the processes."""
        return [worker.number for worker in self._workers]

    @property
    def broken(self) -> str:
        """Reason why only a restart can help, or nothing: no worker starts again."""
        lost = all(worker.failures >= MOST_FAILURES for worker in self._workers)
        return self._failure if lost else ""

    async def call(
        self, step: Step, arrays: Sequence[Array], context: Any, seconds: float
    ) -> tuple[tuple[Array, ...], Any]:
        """Call the callable: its result and its context, within so many seconds, or DeadlineExceeded.

        Invalid: preprocess refuses the request. TransformFailed: it failed. QueueFull: too many wait.
        """
        due = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                worker = await self._turn(step.name)
        except TimeoutError as error:
            raise DeadlineExceeded(f"waited for {step.name}") from error
        try:
            head, parts = await _packed(step.given, arrays)
        except BaseException:
            self._leave(worker)
            raise
        head |= {
            "step": step.name,
            "given": described(step.given),
            "wanted": described(step.wanted),
            "context": context,
        }
        work = asyncio.ensure_future(self._work(worker, step, head, parts))
        self._keep(work)
        try:
            async with asyncio.timeout(due - time.monotonic()):
                said, payload = await asyncio.shield(work)
        except TimeoutError as error:
            raise DeadlineExceeded(f"was in {step.name}") from error
        found: list[Array] = []
        for array in arrays_of(said, payload, step.wanted):
            if array is None:
                await asyncio.sleep(0)
            else:
                found.append(array)
        return tuple(found), said.get("context")

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        def done(task: "asyncio.Task[Any]") -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # whoever waited for it may be gone

        self._tasks.add(task)
        task.add_done_callback(done)

    async def _turn(self, step: str) -> Worker:
        if self._idle:
            return self._idle.pop()
        if self.waiting >= self._most_waiting:
            raise QueueFull(f"too many requests wait for {step}", 1)
        mine: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        line = self._waiting[step]
        line.append(mine)
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._leave(mine.result())
            raise
        finally:
            if mine in line:
                line.remove(mine)

    def _leave(self, worker: Worker) -> None:
        """Give a free worker to the first call that waits."""
        for line in self._waiting.values():
            while line:
                first = line.popleft()
                if not first.done():
                    first.set_result(worker)
                    return
        self._idle.append(worker)

    async def _work(
        self, worker: Worker, step: Step, head: dict[str, Any], parts: Sequence[Buffer]
    ) -> tuple[dict[str, Any], memoryview]:
        whole = False
        try:
            async with asyncio.timeout(self._longest):
                said, payload = await worker.exchange(head, parts)
            if "error" not in said:
                check_said(said, len(payload), step.wanted)
            whole = not said.get("over")
        except TimeoutError as error:
            LOG.warning("%s has not ended within %g s: its process is killed", step.name, self._longest)
            raise DeadlineExceeded(f"was in {step.name}") from error
        except (WorkerEnded, ValueError, KeyError, TypeError) as error:
            LOG.warning("the process that ran %s %s", step.name, error)
            how = error if isinstance(error, WorkerEnded) else "gave no answer"
            raise TransformFailed(f"the process that ran the service's {step.name} {how}") from error
        finally:
            if whole:
                self._leave(worker)
            else:
                worker.kill()
                self._keep(asyncio.ensure_future(self._replace(worker)))
        if "error" in said:
            raise (Invalid if said["error"] == "Invalid" else TransformFailed)(str(said.get("words")))
        return said, payload

    async def _replace(self, worker: Worker) -> None:
        """Again and again, ever more slowly, until it starts."""
        self.restarts += 1
        wait = FIRST_WAIT
        while True:
            await worker.end()
            try:
                await worker.start()
            except (BadInput, OSError) as error:
                worker.failures += 1
                self._failure = str(error)
                LOG.error("a worker of the service's transform does not start again: %s", error)
                await asyncio.sleep(wait)
                wait = min(LONGEST_WAIT, wait * 2)
            else:
                worker.failures = 0
                self._leave(worker)
                return

    async def close(self) -> None:
        """End the processes."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        # Whoever was cancelled wants its worker again.
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*(worker.end() for worker in self._workers))
