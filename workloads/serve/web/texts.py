"""Texts in `/predict`: read from JSON, plain text or a form, and answered in words.

JSON: {"text": "..."}, {"texts": ["...", ...]}, pairs as {"texts": [["...", "..."], ...]} or as {"query": "...",
"texts": [...]}, which is every text beside one query.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import Task
from workloads.serve.errors import Invalid, Refused, UnsupportedEncoding
from workloads.serve.http.message import Buffer
from workloads.serve.rest.pieces import plain
from workloads.serve.text.inputs import TextInputs, check_bytes
from workloads.serve.web.answers import classify, of_task
from workloads.serve.web.multipart import Part

if TYPE_CHECKING:
    from workloads.serve.text.texts import Answer, Texts

WORDS = 'texts are strings, or pairs of them: {"texts": ["...", ...]}, {"texts": [["...", "..."], ...]}'
FIELDS = frozenset({"text", "texts", "query"})


def asks_for_texts(document: Any) -> bool:
    """Tell whether a JSON document has a field for texts."""
    return isinstance(document, dict) and not FIELDS.isdisjoint(document)


def from_json(document: Mapping[str, Any]) -> TextInputs:
    """Raises Invalid in words."""
    unknown = sorted(set(document) - FIELDS)
    if unknown:
        raise Invalid(f"{', '.join(map(repr, unknown))} beside texts: there are text, texts and query")
    if ("text" in document) == ("texts" in document):
        raise Invalid(WORDS)
    texts = [document["text"]] if "text" in document else document["texts"]
    if type(texts) is not list:
        raise Invalid(WORDS)
    query = document.get("query")
    if query is not None:
        if type(query) is not str or not all(type(text) is str for text in texts):
            raise Invalid("a query is one string, beside texts that are strings")
        return TextInputs([query] * len(texts), texts)
    if texts and all(type(text) is list for text in texts):
        if not all(len(pair) == 2 and type(pair[0]) is type(pair[1]) is str for pair in texts):
            raise Invalid(WORDS)
        return TextInputs([pair[0] for pair in texts], [pair[1] for pair in texts])
    if not all(type(text) is str for text in texts):
        raise Invalid(WORDS)
    return TextInputs(texts)


def from_plain(content_type: bytes, body: Buffer) -> TextInputs:
    """The whole body is one text."""
    _, _, charset = content_type.lower().partition(b"charset=")
    if charset.strip(b" \"'") not in {b"", b"utf-8", b"utf8", b"us-ascii"}:
        raise UnsupportedEncoding("text/plain is read as UTF-8: say charset=utf-8, or send JSON")
    return TextInputs([_decoded(body, 1)])


def from_parts(parts: Sequence[Part]) -> TextInputs | None:
    """Fields of a form called text or texts, beside one called query, and files of text/plain; None without any."""
    texts = [part for part in parts if part.name in {"text", "texts"} or (part.file and _is_plain(part.content_type))]
    if not texts:
        return None
    words = [_decoded(part.content, place) for place, part in enumerate(texts, start=1)]
    queries = [_decoded(part.content, 0) for part in parts if part.name == "query"]
    if len(queries) > 1:
        raise Invalid("there is one query")
    return TextInputs(queries * len(words), words) if queries else TextInputs(words)


def _is_plain(content_type: str) -> bool:
    """True whatever is said of its charset: it is decoded as UTF-8, or refused."""
    return content_type.partition(";")[0].strip().lower() == "text/plain"


def _decoded(content: Buffer, place: int) -> str:
    check_bytes(len(content))
    try:
        return bytes(content).decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"text {place} is not UTF-8: {error}") from error


def in_words(
    texts: "Texts", answer: "Answer", names: Sequence[str], task: Task | None, labels: Sequence[str]
) -> list[Any]:
    """Per text the answer by the model's task, how many tokens it had, and whether its end was cut off."""
    if not all(np.isfinite(output).all() for output in answer.outputs if output.dtype.kind == "f"):
        raise Refused("the model's result for this text is not finite")
    if task is Task.EMBEDDING:
        said: list[dict[str, Any]] = [{"embedding": row} for row in plain(texts.vector(answer))]
    elif task is Task.TEXT_CLASSIFICATION and answer.outputs[0].ndim == 2:
        scores = answer.outputs[0]
        said = [_score(float(row[0])) for row in scores] if scores.shape[1] == 1 else classify(scores, labels)
    elif task in {Task.MULTI_LABEL, Task.REGRESSION} and len(names) == 1:
        said = of_task(task, answer.outputs[0], names[0], labels)
    else:
        values = {name: plain(output) for name, output in zip(names, answer.outputs, strict=True)}
        said = [{name: one[row] for name, one in values.items()} for row in range(len(answer.rows))]
    return [
        {**one, "tokens": len(row.tokens), "truncated": row.truncated}
        for one, row in zip(said, answer.rows, strict=True)
    ]


def _score(logit: float) -> dict[str, Any]:
    """Score of a model with a single number, as rerankers have it: the higher the better."""
    shrunk = math.exp(-abs(logit))
    return {"score": (1.0 if logit >= 0 else shrunk) / (1.0 + shrunk), "logit": logit}
