"""A request's way where own code stands around the model: preprocess, batcher, postprocess, within one deadline.

Its ticket looks like the batcher's own, so that no protocol has to know.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from workloads.serve.batcher import Batcher, Ticket
from workloads.serve.datatypes import Array
from workloads.serve.errors import ClientDeadline, DeadlineExceeded, Invalid, RequestError, TransformFailed
from workloads.serve.protocol.inference_request import InferenceRequest, in_order
from workloads.serve.signature import Signature
from workloads.serve.telemetry.metrics import Metrics
from workloads.serve.transform.forms import POSTPROCESS, PREPROCESS, served
from workloads.serve.transform.workers import Step, Workers
from workloads.serve.worker import Inputs, Outputs

Submit = Callable[[InferenceRequest], Ticket[Inputs, Outputs]]


class TransformTicket(Ticket[Inputs, Outputs]):
    """Its answer is a task; to drop it cancels that. Never `waiting`: something is always done for it."""

    __slots__ = ("after", "before")
    counted: ClassVar[bool] = False

    def __init__(self, request: InferenceRequest, answer: "asyncio.Future[Outputs]") -> None:
        super().__init__((), request.rows, request.size, request.group, answer)
        self.before = 0.0
        self.after = 0.0

    @property
    def timing(self) -> tuple[float, ...]:
        """Queue, compute, preprocess and postprocess, in seconds, waiting for a worker included."""
        return self.queue_seconds, self.engine_seconds, self.before, self.after


class TransformChain:
    """Chain of one served model with own code around it. `signature` is what clients send and get."""

    def __init__(
        self,
        workers: Workers,
        model: Signature,
        batcher: Batcher[Inputs, Outputs],
        submit: Submit,
        metrics: Metrics,
    ) -> None:
        """`submit` queues what the model takes."""
        self.workers = workers
        self._model = model
        self._batcher = batcher
        self._submit = submit
        self._metrics = metrics
        choice = workers.choice
        self.signature = own = served(choice, model)
        self._before = Step(PREPROCESS, own.inputs, model.inputs) if choice.preprocess else None
        self._after = Step(POSTPROCESS, model.outputs, own.outputs) if choice.postprocess else None

    @property
    def reads(self) -> bool:
        """True if what clients send goes into own code first."""
        return self._before is not None

    def described(self) -> dict[str, str]:
        """Names of the callables by step, for the model's metadata."""
        choice = self.workers.choice
        steps = {PREPROCESS: choice.preprocess, POSTPROCESS: choice.postprocess}
        return {step: name for step, name in steps.items() if name}

    def begin(self, request: InferenceRequest) -> TransformTicket:
        """Start a checked request."""
        held: list[TransformTicket] = []
        ticket = TransformTicket(request, asyncio.ensure_future(self._through(request, held)))
        held.append(ticket)
        return ticket

    async def _through(self, request: InferenceRequest, held: "list[TransformTicket]") -> Outputs:
        """`held` has the ticket, which is made after the task."""
        (ticket,) = held
        most = self._batcher.limits.default_timeout
        seconds = min(request.timeout, most) if request.timeout > 0 else most
        due, context, inputs = time.monotonic() + seconds, None, request.inputs
        kind = ClientDeadline if seconds < most else DeadlineExceeded
        if self._before is not None:
            started = time.monotonic()
            inputs, context = await self._called(self._before, inputs, None, due, kind, seconds)
            ticket.before = time.monotonic() - started
        inner = self._submit(self._computed(inputs, request, max(due - time.monotonic(), 1e-6)))
        try:
            outputs = await self._batcher.answer(inner)
        except DeadlineExceeded as error:
            raise kind(str(error)) from error
        finally:
            ticket.queue_seconds, ticket.engine_seconds = inner.queue_seconds, inner.engine_seconds
            ticket.batch_rows = inner.batch_rows
        if self._after is None:
            return outputs
        started = time.monotonic()
        found, _ = await self._called(self._after, outputs, context, due, kind, seconds)
        ticket.after = time.monotonic() - started
        return list(found)

    async def _called(
        self,
        step: Step,
        arrays: Sequence[Array],
        context: Any,
        due: float,
        kind: type[DeadlineExceeded],
        seconds: float,
    ) -> tuple[tuple[Array, ...], Any]:
        started, outcome = time.monotonic(), "answered"
        try:
            return await self.workers.call(step, arrays, context, max(due - started, 0.0))
        except DeadlineExceeded as error:
            outcome = kind.reason
            raise kind(f"the request's {seconds:g} s were over while it {error}") from error
        except RequestError as error:
            outcome = error.reason
            raise
        except asyncio.CancelledError:
            outcome = "abandoned"
            raise
        finally:
            if outcome != "answered":
                self._metrics.ended(outcome)
            self._metrics.transformed(step.name, outcome, time.monotonic() - started)

    def _computed(self, inputs: Sequence[Array], request: InferenceRequest, left: float) -> InferenceRequest:
        """Request to the model; where there is own code before it, only that can be wrong."""
        names = [tensor.name for tensor in self._model.inputs]
        try:
            arrays, rows, group, size = in_order(self._model, dict(zip(names, inputs, strict=True)))
            most = self._batcher.limits.max_batch_size
            if not 1 <= rows <= most:
                raise Invalid(f"a request of {rows} rows: this model takes 1 to {most}")
        except Invalid as error:
            if self._before is None:
                raise
            self._metrics.ended(TransformFailed.reason)
            raise TransformFailed(f"the service's preprocess gave what the model does not take: {error}") from error
        return InferenceRequest(arrays, rows, group, size, (), None, request.priority, left)
