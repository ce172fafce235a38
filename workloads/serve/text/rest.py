"""Texts over REST: an inference whose input is BYTES, tokenized, and answered as any other."""

from collections.abc import Sequence

from workloads.serve.http import Reply, Request
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest.inference import Codec
from workloads.serve.rest.pending import TaskPending
from workloads.serve.text.inputs import TextInputs
from workloads.serve.text.protocol import Form, codecs, decoded, given, wants_texts
from workloads.serve.text.texts import Texts
from workloads.serve.tokenizer.tokens import Row

TRUNCATED = b"Slipway-Truncated-Texts"
MOST_TOLD = 64


class TextRest:
    """Reader of texts over REST, beside the model's own codec, which reads tokens."""

    def __init__(self, texts: Texts, codec: Codec) -> None:
        self._texts = texts
        self._codecs = codecs(codec)

    def wants(self, request: Request) -> bool:
        """Tell whether a request that is not compressed says that it holds texts."""
        return wants_texts(request)

    def begin(self, request: Request) -> TaskPending:
        """The reply's promise. Raises what the codec or `check` raises."""
        form, asked = decoded(self._codecs, request)
        return TaskPending(self._answered(form, asked, self._checked(asked)))

    async def answered(self, form: Form, asked: InferenceRequest) -> Reply:
        """The reply to a request that was read elsewhere."""
        return await self._answered(form, asked, self._checked(asked))

    def _checked(self, asked: InferenceRequest) -> TextInputs:
        texts = given(asked)
        self._texts.check(texts)
        return texts

    async def _answered(self, form: Form, asked: InferenceRequest, texts: TextInputs) -> Reply:
        answer = await self._texts.answer(texts)
        reply = self._codecs[form].encode(asked, answer.outputs)
        reply.headers += told(answer.rows)
        return reply


def told(rows: Sequence[Row]) -> bytes:
    """A header with the places of texts that were cut off, from 0; nothing when there is none."""
    words = cut_off(rows)
    return b"%b: %b\r\n" % (TRUNCATED, words.encode()) if words else b""


def cut_off(rows: Sequence[Row]) -> str:
    """Places of the texts that were cut off, in words."""
    places = [place for place, row in enumerate(rows) if row.truncated]
    return ",".join(map(str, places[:MOST_TOLD])) + (",..." if len(places) > MOST_TOLD else "")
