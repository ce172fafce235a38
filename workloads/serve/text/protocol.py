"""Texts over the Open Inference Protocol: BYTES inputs `text` and, for pairs, `text_pair`, beside the model's own.

The codecs of both protocols read them by a signature of their own, which has the model's outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.errors import Invalid
from workloads.serve.http import Request
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest.inference import HEADER_LENGTH, Codec
from workloads.serve.signature import Signature, Tensor
from workloads.serve.text.inputs import MOST_TEXTS, TextInputs, check_bytes

TEXT, PAIR = "text", "text_pair"
MARK = b"BYTES"
# Whether there are second texts, and the axes: [texts] or [texts, 1].
Form = tuple[bool, int]


def forms(signature: Signature) -> dict[Form, Signature]:
    """Signatures of text requests."""
    found = {}
    for pair in (False, True):
        for axes in (1, 2):
            shape: tuple[int | str, ...] = ("batch", 1)[:axes]
            names = (TEXT, PAIR) if pair else (TEXT,)
            inputs = tuple(Tensor(name, Datatype.BYTES, shape) for name in names)
            found[pair, axes] = Signature(inputs, signature.outputs)
    return found


def codecs(codec: Codec) -> dict[Form, Codec]:
    """Codecs of text requests over REST, beside the model's own."""
    return {form: replace(codec, signature=one, most_rows=MOST_TEXTS) for form, one in forms(codec.signature).items()}


def wants_texts(request: Request) -> bool:
    """Tell whether a request over REST, which is not compressed, says that it holds texts."""
    length = request.headers.get(HEADER_LENGTH, b"")
    end = int(length) if length.isdigit() and len(length) < 19 else request.size
    return request.body.find(MARK, 0, end) >= 0


def decoded(known: Mapping[Form, Codec], request: Request) -> tuple[Form, InferenceRequest]:
    """Texts that came over REST, and the form that they have. Raises what the codec raises."""
    pair = request.body.find(PAIR.encode()) >= 0
    try:
        return (pair, 1), known[pair, 1].decode(request)
    except Invalid:
        try:
            return (pair, 2), known[pair, 2].decode(request)
        except Invalid:
            pass
        raise


def form_of(inputs: Sequence[Any]) -> Form | None:
    """Form of a gRPC message's inputs; None where they are the model's own."""
    if not any(one.datatype == "BYTES" for one in inputs):
        return None
    return any(one.name == PAIR for one in inputs), min(2, max(1, len(inputs[0].shape)))


def check_size(request: InferenceRequest) -> None:
    """TooLarge for more text than one request may hold."""
    check_bytes(request.size)


def given(request: InferenceRequest) -> TextInputs:
    """The texts of a decoded request. Invalid for bytes that are no UTF-8."""
    texts = [_words(TEXT, array) for array in request.inputs]
    return TextInputs(texts[0], texts[1] if len(texts) > 1 else None, request.priority, request.timeout)


def _words(name: str, array: Array) -> list[str]:
    words = []
    for place, element in enumerate(array.reshape(-1)):
        try:
            words.append(element.decode())
        except UnicodeDecodeError as error:
            raise Invalid(f"{name} {place + 1} is not UTF-8: {error}") from error
    return words


def described(pairs: bool, limit: int) -> Mapping[str, str]:
    """Properties for the model's metadata: the inputs of texts and the most tokens of one."""
    pair = f", and {PAIR} of the same shape for pairs" if pairs else ""
    return {"text_input": f"{TEXT} BYTES [-1]{pair}, in place of the inputs", "text_max_tokens": str(limit)}
