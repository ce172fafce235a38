"""Texts over REST: an inference whose input is BYTES, tokenized, and answered as any other."""

from collections.abc import Sequence
from dataclasses import replace

from workloads.serve.errors import Invalid
from workloads.serve.http import Reply, Request
from workloads.serve.protocol.content_encoding import inflate
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest.inference import HEADER_LENGTH, Codec
from workloads.serve.rest.pending import TaskPending
from workloads.serve.text.protocol import MARK, PAIR, forms, given
from workloads.serve.text.texts import MOST_TEXTS, Texts
from workloads.serve.tokenizer.tokens import Row

TRUNCATED = b"Slipway-Truncated-Texts"
MOST_TOLD = 64


class TextRest:
    """Reader of texts over REST, beside the model's own codec, which reads tokens."""

    def __init__(self, texts: Texts, codec: Codec) -> None:
        self._texts = texts
        self._most = codec.max_body_size
        self._codecs = {
            form: replace(codec, signature=one, most_rows=MOST_TEXTS) for form, one in forms(codec.signature).items()
        }

    def wants(self, request: Request) -> bool:
        """Tell whether the request says that it holds texts.

        Decompresses its body for that, and raises what that raises. Raises what that raises.
        """
        inflate(request, self._most)
        length = request.headers.get(HEADER_LENGTH, b"")
        end = int(length) if length.isdigit() and len(length) < 19 else len(request.body)
        return request.body.find(MARK, 0, end) >= 0

    def begin(self, request: Request) -> TaskPending:
        """The reply's promise. Raises what the codec or `check` raises."""
        codec, asked = self._decoded(request)
        texts = given(asked)
        self._texts.check(texts)

        async def work() -> Reply:
            answer = await self._texts.answer(texts)
            reply = codec.encode(asked, answer.outputs)
            reply.headers += told(answer.rows)
            return reply

        return TaskPending(work())

    def _decoded(self, request: Request) -> tuple[Codec, InferenceRequest]:
        pair = request.body.find(PAIR.encode()) >= 0
        flat, column = self._codecs[pair, 1], self._codecs[pair, 2]
        try:
            return flat, flat.decode(request)
        except Invalid:
            try:
                return column, column.decode(request)
            except Invalid:
                pass
            raise


def told(rows: Sequence[Row]) -> bytes:
    """A header with the places of texts that were cut off, from 0; nothing when there is none."""
    words = cut_off(rows)
    return b"%b: %b\r\n" % (TRUNCATED, words.encode()) if words else b""


def cut_off(rows: Sequence[Row]) -> str:
    """Places of the texts that were cut off, in words."""
    places = [place for place, row in enumerate(rows) if row.truncated]
    return ",".join(map(str, places[:MOST_TOLD])) + (",..." if len(places) > MOST_TOLD else "")
