"""Large documents of `/predict`, read in a process of their own: rows by numbers or by columns, and texts."""

import numpy as np

from workloads.serve.protocol.document import Cut, bounded
from workloads.serve.protocol.inference_request import InferenceRequest, in_order
from workloads.serve.rest.inference import Codec
from workloads.serve.rest.rows import MARK, rows_of
from workloads.serve.text.inputs import check_bytes
from workloads.serve.text.protocol import forms
from workloads.serve.web import columns
from workloads.serve.web.texts import asks_for_texts, from_json


def rows_of_people(codec: Codec, body: bytes, names: list[str] | None, texts: bool) -> InferenceRequest:
    """The request of a document, whole and checked, which has a `form` where it holds texts. Invalid in words."""
    signature = codec.signature
    if columns.are_named(body):
        arrays = columns.from_document(bounded(body), signature, names)
        return InferenceRequest(*in_order(signature, arrays), ())
    cut = Cut(body, "rows", MARK)
    if texts and asks_for_texts(cut.document):
        given = from_json(cut.document)
        cut.check_used()
        form = given.seconds is not None, 1
        signature = forms(signature)[form]
        words = [given.texts] if given.seconds is None else [given.texts, given.seconds]
        encoded = [[word.encode() for word in each] for each in words]
        check_bytes(sum(map(len, (one for each in encoded for one in each))))
        arrays = {}
        for tensor, each in zip(signature.inputs, encoded, strict=True):
            arrays[tensor.name] = array = np.empty(len(each), dtype=object)
            array[:] = each
        return InferenceRequest(*in_order(signature, arrays), (), form=form)
    if columns.asks_for_columns(cut.document, signature):
        return InferenceRequest(*in_order(signature, columns.from_document(bounded(body), signature, names)), ())
    array = rows_of(signature, cut.document, codec.most_rows, cut)
    return InferenceRequest(*in_order(signature, {signature.inputs[0].name: array}), ())
