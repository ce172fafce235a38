"""`python -m workloads.serve.reading.process N`: reads requests that come over socket N, until it is closed.

Started by apart/pool.py. Its memory is bounded, because it is where a stranger's bytes become objects.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from workloads.serve.apart.child import Answer, answer_all, bound_memory
from workloads.serve.apart.wire import Job, codec_of, describe
from workloads.serve.http import Request
from workloads.serve.protocol.content_encoding import coding_of, inflate, inflated
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest.inference import Codec
from workloads.serve.signature import Signature

NICE = 10
# Of memory, in multiples of the largest body. Most is never touched: the parser reserves twelve for any document.
BODIES = 18
SPARE = 64 << 20


def begin(setup: Any) -> Callable[[Job], Answer]:
    """Reader of requests for the model that the setup describes."""
    codec = codec_of(setup)
    read = _Reader(codec, setup["texts"])
    bound_memory(BODIES * codec.max_body_size + SPARE)
    return read


class _Reader:
    """Reader of one model's requests; `texts`: it takes them beside its own inputs."""

    def __init__(self, codec: Codec, texts: bool) -> None:
        self._codec = codec
        self._texts = texts

    def __call__(self, job: Job) -> Answer:
        request = Request(b"POST", b"", dict(job.headers), bytes(job.parts[0]))
        if job.kind == "inflate":
            return {}, [memoryview(inflated(request.body, coding_of(request), self._codec.max_body_size))]
        if job.kind == "grpc":
            asked = self._message(request.body)
        elif job.kind == "predict":
            columns = orjson.loads(job.headers[b"columns"])
            asked = self._rows(request.body, columns)
        else:
            asked = self._tensors(request)
        if asked.form is None:
            return describe(asked, self._codec.signature)
        from workloads.serve.text.protocol import check_size

        check_size(asked)
        return describe(asked, self._forms[asked.form])

    @property
    def _forms(self) -> "dict[tuple[bool, int], Signature]":
        from workloads.serve.text.protocol import forms

        return forms(self._codec.signature)

    def _tensors(self, request: Request) -> InferenceRequest:
        if not self._texts:
            return self._codec.decode(request)
        from workloads.serve.text.protocol import codecs, decoded, wants_texts

        inflate(request, self._codec.max_body_size)
        if not wants_texts(request):
            return self._codec.decode(request)
        form, asked = decoded(codecs(self._codec), request)
        return replace(asked, form=form)

    def _message(self, message: bytes) -> InferenceRequest:
        from workloads.serve.protocol.grpc_message import check
        from workloads.serve.protocol.grpc_tensors import GrpcCodec, parsed

        codec = self._codec
        grpc = GrpcCodec(codec.signature, codec.name, codec.version, codec.nonfinite, codec.most_rows)
        if not self._texts:
            return grpc.read(message)
        from workloads.serve.text.inputs import MOST_TEXTS
        from workloads.serve.text.protocol import form_of

        forms = self._forms
        check(memoryview(message), max((codec.signature, *forms.values()), key=lambda one: len(one.inputs)))
        request = parsed(message)
        form = form_of(request.inputs)
        if form is None:
            return grpc.decode(request)
        return replace(replace(grpc, signature=forms[form], most_rows=MOST_TEXTS).decode(request), form=form)

    def _rows(self, body: bytes, columns: list[str] | None) -> InferenceRequest:
        from workloads.serve.reading.rows_of_people import rows_of_people

        return rows_of_people(self._codec, body, columns, self._texts)


if __name__ == "__main__":
    answer_all(int(sys.argv[1]), NICE, begin)
