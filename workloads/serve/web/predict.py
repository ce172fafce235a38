"""`/predict`: GET says what it takes, POST takes it. Pictures for models with preprocessing, texts for models with a
tokenizer, rows as JSON for all.

Rows are what the model's inputs hold per row, already preprocessed; see rows.py.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from slipway.api.common.artifact import Task
from workloads.serve.apart import Job, ReaderPool, inflated_apart
from workloads.serve.datatypes import Array, Datatype
from workloads.serve.errors import DeadlineExceeded, Invalid, Refused, UnsupportedEncoding
from workloads.serve.http import Reply, Request
from workloads.serve.http.message import Buffer, json_reply
from workloads.serve.protocol.content_encoding import AT_ONCE, inflate, inflated_if_small
from workloads.serve.protocol.document import bounded as parsed
from workloads.serve.protocol.inference_request import InferenceRequest, in_order
from workloads.serve.rest.pending import TaskPending
from workloads.serve.rest.pieces import LONG, plain, written
from workloads.serve.rest.rows import rows_of
from workloads.serve.service import Service
from workloads.serve.text.inputs import TextInputs
from workloads.serve.text.protocol import given
from workloads.serve.text.texts import Texts
from workloads.serve.transform.chain import TransformTicket
from workloads.serve.web import columns
from workloads.serve.web import texts as words
from workloads.serve.web.answers import BY_TASK, CLASSES, by_row, of_task, rows_by_name
from workloads.serve.web.multipart import parts
from workloads.serve.web.parameters import wanted_by
from workloads.serve.web.pictures.decoding import Decoding
from workloads.serve.web.pictures.detection import BoxChoice, Geometry, boxes_of, detect
from workloads.serve.web.pictures.fair_queue import Client
from workloads.serve.web.pictures.segmentation import segments


class Predict:
    """Handlers of GET and POST on /predict."""

    def __init__(
        self, service: Service, max_body_size: int, texts: Texts | None = None, apart: ReaderPool | None = None
    ) -> None:
        """`texts`: for a model that takes them; `apart` reads what is large."""
        self._service = service
        self._apart = apart
        self._most = max_body_size
        self._texts = texts
        self._model = service.model
        self._artifact = artifact = service.model.artifact
        how = artifact.preprocessing if artifact is not None else None
        self._decoding = Decoding(how, max_body_size) if how is not None else None
        boxes = artifact.detection if artifact is not None else None
        self._layout = boxes.layout if boxes is not None else None
        self._signature = service.signature
        self._first = self._signature.inputs[0].name
        # Files as they are, for own code that takes them.
        reads = service.transform is not None and service.transform.reads
        self._files = reads and [one.datatype for one in self._signature.inputs] == [Datatype.BYTES]
        self._columns = columns.columns_of(self._signature, None if reads else artifact)
        self._wanted = BoxChoice(boxes.score, boxes.overlap) if boxes is not None else BoxChoice()

    async def close(self) -> None:
        """End the processes that decode pictures."""
        if self._decoding is not None:
            await self._decoding.close()

    def describe(self, _request: Request) -> Reply:
        """Description of the model for the page, and for people with curl."""
        artifact, signature = self._artifact, self._signature
        return json_reply(
            {
                "name": self._model.name,
                "task": artifact.task if artifact is not None else None,
                "pictures": self._files or (artifact is not None and artifact.preprocessing is not None),
                "texts": self._files or self._texts is not None,
                "pairs": self._texts is not None and self._texts.pairs,
                "columns": self._columns or [],
                "labels": artifact.labels if artifact is not None else [],
                "inputs": [{"name": t.name, "datatype": t.datatype.name, "shape": t.shape} for t in signature.inputs],
                "engine": self._service.loaded.engines[0].name,
                "metrics": artifact.metrics if artifact is not None else {},
            }
        )

    def handle(self, request: Request) -> TaskPending:
        """A picture, pictures, texts, or rows."""
        if self._apart is not None and not inflated_if_small(request):
            return TaskPending(self._inflated(request, self._apart))
        inflate(request, self._most)
        return self._taken(request)

    async def _inflated(self, request: Request, apart: ReaderPool) -> Reply:
        await inflated_apart(request, apart, self._service.batcher.limits.default_timeout)
        return await _through(self._taken(request))

    def _taken(self, request: Request) -> TaskPending:
        content_type = request.headers.get(b"content-type", b"").lower()
        if content_type.startswith(b"application/json"):
            return self._json(request)
        if (self._texts is not None or self._files) and content_type.startswith(b"text/plain"):
            return self._worded(words.from_plain(content_type, request.whole))
        if content_type.startswith(b"multipart/form-data"):
            return TaskPending(self._form(request))
        if content_type.startswith((b"image/", b"application/octet-stream")):
            return self._seen([request.whole], request)
        raise UnsupportedEncoding("Content-Type may be image/*, text/plain, multipart/form-data or application/json")

    def _json(self, request: Request) -> TaskPending:
        if self._apart is not None and request.size > AT_ONCE:
            job = Job("predict", {b"columns": orjson.dumps(self._columns)}, request.parts)
            return TaskPending(self._read_apart(self._apart, job))
        document = parsed(request.body)
        if words.asks_for_texts(document):
            return self._worded(words.from_json(document))
        if columns.asks_for_columns(document, self._signature):
            return TaskPending(self._answer(columns.from_document(document, self._signature, self._columns)))
        transform = self._service.transform
        most = 0 if transform is not None and transform.reads else self._service.batcher.limits.max_batch_size
        return TaskPending(self._answer({self._first: rows_of(self._signature, document, most)}))

    async def _form(self, request: Request) -> Reply:
        found = await parts(request.headers[b"content-type"], request.whole)
        texts = words.from_parts(found)
        if texts is not None:
            return await _through(self._worded(texts))
        return await _through(self._seen([part.content for part in found if part.file], request))

    def _seen(self, pictures: Sequence[Buffer], request: Request) -> TaskPending:
        wanted = wanted_by(request.query, self._wanted)
        if not pictures or not all(pictures):
            raise Invalid("there is no picture in the request")
        if self._files:
            return TaskPending(self._answer({self._first: self._as_they_are(pictures)}))
        if self._decoding is None:
            raise Invalid("this model has no preprocessing for pictures: send rows as JSON")
        if len(pictures) > self._service.batcher.limits.max_batch_size:
            raise Invalid(
                f"{len(pictures)} pictures: {self._service.batcher.limits.max_batch_size} fit into one request"
            )
        sender = request.sender
        client = (sender.peer, id(sender)) if sender is not None else ("", 0)
        return TaskPending(self._pictures(self._decoding, pictures, client, wanted))

    def _as_they_are(self, files: Sequence[Buffer]) -> Array:
        """Files as BYTES, one beside the other."""
        axes, array = self._signature.inputs[0].axes, np.empty(len(files), dtype=object)
        array[:] = [bytes(file) for file in files]
        if not axes and len(files) > 1:
            raise Invalid(f"{len(files)} files: the service takes one at a time")
        return array.reshape((len(files), *[1] * (len(axes) - 1)) if axes else ())

    def _worded(self, given: TextInputs) -> TaskPending:
        if self._files and given.seconds is None:
            texts = [text.encode(errors="replace") for text in given.texts]
            return TaskPending(self._answer({self._first: self._as_they_are(texts)}))
        if self._texts is None:
            raise Invalid("this model takes no texts: its artifact has no tokenizer")
        self._texts.check(given)
        return TaskPending(self._answer_texts(self._texts, given))

    async def _answer_texts(self, texts: Texts, given: TextInputs) -> Reply:
        started = time.monotonic()
        answer = await texts.answer(given)
        timing = {
            "queueMs": max(ticket.queue_seconds for ticket in answer.tickets) * 1000,
            "engineMs": max(ticket.engine_seconds for ticket in answer.tickets) * 1000,
            "totalMs": (time.monotonic() - started) * 1000,
            "batchRows": max(ticket.batch_rows for ticket in answer.tickets),
        }
        names = [tensor.name for tensor in self._model.signature.outputs]
        task = self._artifact.task if self._artifact is not None else None
        labels = self._artifact.labels if self._artifact is not None else []
        return await self._reply(
            lambda: words.in_words(texts, answer, names, task, labels),
            answer.outputs,
            timing,
            max((ticket.timing for ticket in answer.tickets), key=sum),
        )

    async def _read_apart(self, apart: ReaderPool, job: Job) -> Reply:
        asked = await self._service.read_apart(apart, job)
        if asked.form is not None:
            return await _through(self._worded(replace(given(asked), timeout=asked.timeout)))
        names = [tensor.name for tensor in self._signature.inputs]
        return await self._answer(dict(zip(names, asked.inputs, strict=True)), (), asked.timeout)

    async def _pictures(
        self, decoding: Decoding, pictures: Sequence[Buffer], client: Client, wanted: BoxChoice
    ) -> Reply:
        """Decoding counts: the request has one time for all of it."""
        timeout, started = self._service.batcher.limits.default_timeout, time.monotonic()
        array, ways = await decoding.to_input(pictures, client, timeout)
        left = timeout - (time.monotonic() - started)
        if left <= 0:
            raise DeadlineExceeded(f"the request's {timeout:g} s were over when its pictures were decoded")
        kind = self._signature.inputs[0].datatype.dtype
        if kind.kind in "iu":
            array = np.rint(array)
        return await self._answer({self._first: array.astype(kind, copy=False)}, ways, left, wanted)

    async def _answer(
        self,
        arrays: Mapping[str, Array],
        ways: Sequence[Geometry] = (),
        seconds: float = 0.0,
        wanted: BoxChoice | None = None,
    ) -> Reply:
        """Through the batcher, like everybody else's; within so many seconds, or its default for 0."""
        signature, batcher = self._signature, self._service.batcher
        inputs, count, group, size = in_order(signature, arrays)
        started = time.monotonic()
        ticket = self._service.submit(InferenceRequest(inputs, count, group, size, (), timeout=seconds))
        outputs = await batcher.answer(ticket)
        timing = {
            "queueMs": ticket.queue_seconds * 1000,
            "engineMs": ticket.engine_seconds * 1000,
            "totalMs": (time.monotonic() - started) * 1000,
            "batchRows": ticket.batch_rows,
        }
        if isinstance(ticket, TransformTicket):
            timing |= {"preprocessMs": ticket.before * 1000, "postprocessMs": ticket.after * 1000}
        own = signature.outputs is not self._model.signature.outputs
        return await self._reply(
            lambda: by_row(signature, outputs) if own else self._words(outputs, ways, wanted),
            outputs,
            timing,
            ticket.timing,
        )

    async def _reply(
        self,
        predictions: Callable[[], list[Any]],
        outputs: Sequence[Array],
        timing: Mapping[str, float],
        seconds: tuple[float, ...],
    ) -> Reply:
        """Reply with the predictions; on a thread, and in pieces, where that takes so long that others would notice."""

        def made() -> dict[str, Any]:
            return {"model": self._model.name, "predictions": predictions(), "timing": timing}

        if sum(output.size for output in outputs) > LONG:
            reply = Reply(200, (await asyncio.to_thread(lambda: b"".join(written(made()))),))
        else:
            reply = json_reply(made())
        reply.timing = seconds
        return reply

    def _words(self, outputs: Sequence[Array], ways: Sequence[Geometry], wanted: BoxChoice | None) -> list[Any]:
        """Predictions by the artifact's task; the bare numbers of a model without one."""
        if not all(np.isfinite(output).all() for output in outputs if output.dtype.kind == "f"):
            raise Refused("the model's result for this input is not finite")
        task = self._artifact.task if self._artifact is not None else None
        labels = self._artifact.labels if self._artifact is not None else []
        if task is not None and task in BY_TASK and (len(outputs) == 1 or task in CLASSES):
            return of_task(task, outputs[0], self._model.signature.outputs[0].name, labels)
        named: Mapping[str, Any] = {
            tensor.name: output for tensor, output in zip(self._model.signature.outputs, outputs, strict=True)
        }
        seen = self._seen_in(named, ways, wanted or self._wanted) if ways else None
        if seen is not None:
            return seen
        if task is Task.EMBEDDING and len(named) == 1:
            return [{"embedding": row} for row in plain(outputs[0].reshape(len(outputs[0]), -1))]
        if task is Task.TABULAR:
            return columns.in_words(named, labels)
        if len(named) == 1:
            return list(plain(outputs[0]))
        return rows_by_name(named, len(outputs[0]))

    def _seen_in(self, named: Mapping[str, Array], ways: Sequence[Geometry], wanted: BoxChoice) -> list[Any] | None:
        """Objects or areas of pictures; None for outputs of another form."""
        assert self._artifact is not None  # noqa: S101  (it has said how pictures go in)
        task, labels = self._artifact.task, self._artifact.labels
        found = boxes_of(named, labels, self._layout) if task is Task.OBJECT_DETECTION else None
        if found is not None:
            wanted = replace(wanted, overlap=1.0) if found.final else wanted
            return detect(found.boxes, found.scores, labels, ways, wanted)
        first = next(iter(named.values()))
        return segments(first, labels) if task is Task.SEGMENTATION and first.ndim in {3, 4} else None


async def _through(pending: TaskPending) -> Reply:
    """The reply of something that has begun."""
    try:
        return await pending.future
    finally:
        pending.abandon()
