"""Texts over the Open Inference Protocol: BYTES inputs `text` and, for pairs, `text_pair`, beside the model's own.

The codecs of both protocols read them by a signature of their own, which has the model's outputs.
"""

from collections.abc import Mapping

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.errors import Invalid
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.signature import Signature, Tensor
from workloads.serve.text.texts import TextInputs

TEXT, PAIR = "text", "text_pair"
MARK = b"BYTES"


def forms(signature: Signature) -> dict[tuple[bool, int], Signature]:
    """Signatures of text requests, by whether there are second texts and by the axes: [texts] or [texts, 1]."""
    found = {}
    for pair in (False, True):
        for axes in (1, 2):
            shape: tuple[int | str, ...] = ("batch", 1)[:axes]
            names = (TEXT, PAIR) if pair else (TEXT,)
            inputs = tuple(Tensor(name, Datatype.BYTES, shape) for name in names)
            found[pair, axes] = Signature(inputs, signature.outputs)
    return found


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
