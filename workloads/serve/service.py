"""A loaded model that answers: engine instances, batcher, codec. The one place that both protocols call.

Made once the engine is warm; until then there is none, and requests are told to wait.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workloads.serve.apart import Job, ReaderPool
from workloads.serve.batcher import Batcher, Limits, Ticket
from workloads.serve.engines.choose import Attempt
from workloads.serve.engines.engine import Engine
from workloads.serve.engines.warmup import WarmUp
from workloads.serve.errors import DeadlineExceeded
from workloads.serve.model import Model
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.signature import ALONE
from workloads.serve.telemetry.metrics import Metrics
from workloads.serve.telemetry.output_distribution import Sketch
from workloads.serve.tokenizer.tokens import Tokens
from workloads.serve.transform.chain import TransformChain
from workloads.serve.transform.workers import Workers
from workloads.serve.worker import EngineWorker, Inputs, Outputs

# A batch of which every request has timed out may still end; after so long the engine is taken for stuck.
LEAST_PATIENCE = 60.0
TIMEOUTS_TO_WAIT = 3


@dataclass(frozen=True)
class Loaded:
    """Loaded model: engine instances, all alike, and the findings on the way."""

    model: Model
    engines: Sequence[Engine]
    warm_up: WarmUp
    attempts: Sequence[Attempt]
    # For a model that takes texts as well.
    tokens: Tokens | None = None


class Service:
    """Serves one model."""

    def __init__(self, loaded: Loaded, limits: Limits, metrics: Metrics, workers: Workers | None = None) -> None:
        """`workers` that have imported own code, where there is some."""
        self.loaded = loaded
        self.model = loaded.model
        metrics.sketch = sketch = Sketch(loaded.model.signature)
        self.lanes = [
            EngineWorker(engine, loaded.model.signature, loaded.warm_up.probe, number, sketch)
            for number, engine in enumerate(loaded.engines)
        ]
        if loaded.warm_up.largest is not None:
            limits = replace(limits, max_batch_size=min(limits.max_batch_size, loaded.warm_up.largest))
        self.batcher: Batcher[Inputs, Outputs] = Batcher(self.lanes, limits, metrics)
        self._patience = max(LEAST_PATIENCE, limits.default_timeout * TIMEOUTS_TO_WAIT)
        self._alone = not loaded.warm_up.independent
        self.transform: TransformChain | None = None
        # What clients send and get.
        self.signature = loaded.model.signature
        if workers is not None:
            self.transform = TransformChain(workers, self.signature, self.batcher, self._queued, metrics)
            self.signature = self.transform.signature

    def submit(self, request: InferenceRequest) -> Ticket[Inputs, Outputs]:
        """Queue a checked request; with own code around the model it goes there first."""
        return self._queued(request) if self.transform is None else self.transform.begin(request)

    def _queued(self, request: InferenceRequest) -> Ticket[Inputs, Outputs]:
        return self.batcher.submit(
            request.inputs,
            rows=request.rows,
            size=request.size,
            group=object() if self._alone or request.group is ALONE else request.group,
            priority=request.priority,
            timeout=request.timeout,
        )

    async def read_apart(self, apart: ReaderPool, job: Job) -> InferenceRequest:
        """A large request, checked. The time that reading it took is part of the request's own."""
        started, most = time.monotonic(), self.batcher.limits.default_timeout
        request = await apart.read(job, most)
        left = min(request.timeout or most, most) - (time.monotonic() - started)
        if left <= 0:
            raise DeadlineExceeded("the request's time was over while it was read")
        request.timeout = left
        return request

    @property
    def broken(self) -> str:
        """Reason why only a restart can help, or nothing: no instance works any more, or one does not come back."""
        words = [lane.broken for lane in self.lanes]
        if all(words):
            return words[0]
        if self.transform is not None and self.transform.workers.broken:
            return self.transform.workers.broken
        longest = max(lane.running for lane in self.lanes)
        return f"an engine has not come back for {longest:.0f} s" if longest > self._patience else ""

    async def close(self) -> None:
        """End the lanes and their engines, and own code's workers."""
        if self.transform is not None:
            await self.transform.workers.close()
        await asyncio.gather(*(asyncio.to_thread(lane.close) for lane in self.lanes))
