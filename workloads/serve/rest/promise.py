"""The reply to an inference over REST that is still in the batcher. Made by app.py."""

import asyncio

from workloads.serve.batcher import Batcher, Ticket
from workloads.serve.http import Pending, Reply
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest.inference import Codec
from workloads.serve.rest.pending import TaskPending
from workloads.serve.worker import Inputs, Outputs


class InferencePending:
    """An inference in the batcher."""

    __slots__ = ("_asked", "_batcher", "_codec", "_ticket", "future")

    def __init__(
        self,
        ticket: Ticket[Inputs, Outputs],
        request: InferenceRequest,
        codec: Codec,
        batcher: Batcher[Inputs, Outputs],
    ) -> None:
        self.future: asyncio.Future[Outputs] = ticket.answer
        self._ticket = ticket
        self._asked = request
        self._codec = codec
        self._batcher = batcher

    @property
    def waiting(self) -> bool:
        """True while the request is in the queue and no engine has begun with it."""
        return self._ticket.waiting

    def finish(self) -> "Reply | Pending":
        """The protocol's reply; a long one is written elsewhere."""
        results, timing = self.future.result(), self._ticket.timing
        if self._codec.long(self._asked, results):
            return TaskPending(written(self._codec, self._asked, results, timing))
        reply = self._codec.encode(self._asked, results)
        reply.timing = timing
        return reply

    def abandon(self) -> None:
        """Take the request out of the queue."""
        self._batcher.abandon(self._ticket)


async def written(codec: Codec, request: InferenceRequest, results: Outputs, timing: tuple[float, ...]) -> Reply:
    """The reply, on a thread where it is long: it is written in pieces, between which others have their turn."""
    if codec.long(request, results):
        reply = await asyncio.to_thread(codec.encode, request, results)
    else:
        reply = codec.encode(request, results)
    reply.timing = timing
    return reply
