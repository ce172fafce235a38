"""One engine instance and its thread: puts the rows of a batch together, runs them, takes the results apart.

The thread is our own and not an executor's: an instance never runs two batches at once, and one queue and one call
back to the loop are all that a batch needs.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue

import numpy as np

from workloads.serve.datatypes import Array
from workloads.serve.engines.engine import Engine
from workloads.serve.errors import EngineFailed, Refused, first_line
from workloads.serve.signature import Signature
from workloads.serve.telemetry.output_distribution import Sketch

LOG = logging.getLogger("slipway.serve")

LARGEST_PROBE = 4 << 20  # bytes of a request that is kept
Inputs = tuple[Array, ...]
Outputs = list[Array]
Job = tuple[list[Inputs], "asyncio.Future[Sequence[Outputs]]"]


class EngineWorker:
    """A batcher's lane. `run` from the event loop; the engine is used by this lane's thread alone."""

    def __init__(
        self,
        engine: Engine,
        signature: Signature,
        probe: Sequence[Array] | None,
        number: int = 0,
        sketch: Sketch | None = None,
    ) -> None:
        """`probe`: a known good input, or None: then the first request that is answered becomes one.

        `sketch` sees what the engine gives.
        """
        self._engine = engine
        self._sketch = sketch
        self._signature = signature
        self._probe = probe
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"engine-{number}", daemon=True)
        self._thread.start()
        self.broken = ""
        self._started = 0.0  # of the batch that runs now, by the monotonic clock; 0 while there is none

    @property
    def running(self) -> float:
        """Seconds for which the current batch has run; 0 when there is none."""
        started = self._started
        return time.monotonic() - started if started else 0.0

    def run(self, payloads: Sequence[Inputs]) -> "asyncio.Future[Sequence[Outputs]]":
        """Results per request, in order. Fails as the engine did; for one request with Refused or EngineFailed."""
        future: asyncio.Future[Sequence[Outputs]] = self._loop.create_future()
        self._jobs.put((list(payloads), future))
        return future

    def close(self) -> None:
        """End the thread when it has done its work, then the engine."""
        self._jobs.put(None)
        self._thread.join()
        self._engine.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            payloads, future = job
            self._started = time.monotonic()
            try:
                if self.broken:
                    self._probe_again()
                results = self.compute(payloads)
            except EngineFailed as error:
                self._tell(future, None, error)
            except Exception as error:
                self._tell(future, None, error if len(payloads) > 1 else self._judge(error))
            else:
                self._tell(future, results, None)
            self._started = 0.0
            del job, payloads, future

    def _tell(
        self, future: "asyncio.Future[Sequence[Outputs]]", results: Sequence[Outputs] | None, error: Exception | None
    ) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, future, results, error)
        except RuntimeError:
            LOG.warning("a batch ended after the event loop was closed")

    def compute(self, payloads: Sequence[Inputs]) -> list[Outputs]:
        """Run these requests as one batch. Called on the lane's thread."""
        if len(payloads) == 1:
            inputs: Sequence[Array] = [_aligned(array) for array in payloads[0]]
        else:
            inputs = [np.concatenate(arrays) for arrays in zip(*payloads, strict=True)]
        outputs = list(self._engine.run(inputs))
        # What one request asked is its own, whatever its shape; several must be told apart by their rows.
        rows = sum(payload[0].shape[0] for payload in payloads) if len(payloads) > 1 else 0
        self._signature.check_outputs(outputs, rows)
        if self._probe is None and sum(array.nbytes for array in inputs) <= LARGEST_PROBE:
            self._probe = [array.copy() for array in inputs]
        if self._sketch is not None:
            self._sketch.see(outputs)
        if len(payloads) == 1:
            return [outputs]
        results, start = [], 0
        for payload in payloads:
            end = start + payload[0].shape[0]
            results.append([output[start:end] for output in outputs])
            start = end
        return results

    def _judge(self, error: Exception) -> Exception:
        """One request failed by itself. It is at fault if a known good input still runs; else the engine is."""
        try:
            self._probe_again()
        except EngineFailed as failure:
            LOG.error("the engine does not run its own warm-up input any more: %s", failure)
            return failure
        return Refused(f"the model cannot compute this input: {first_line(error)}")

    def _probe_again(self) -> None:
        """Run the known good input. EngineFailed when that fails too; it may have been a passing lack of memory."""
        if self._probe is None:
            return
        try:
            self._signature.check_outputs(list(self._engine.run(self._probe)))
        except Exception as error:
            self.broken = first_line(error)
            raise EngineFailed(f"the engine has failed: {self.broken}") from error
        self.broken = ""


def _aligned(array: Array) -> Array:
    return np.require(array, requirements=("C", "A"))


def _settle(
    future: "asyncio.Future[Sequence[Outputs]]", results: Sequence[Outputs] | None, error: Exception | None
) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(results or [])
