"""Test whether padding changes this engine's answers. Done once with a real text, before the server is ready.

A model may ignore its mask, and a dynamically quantized one takes its range over padding too: then nothing is padded,
whatever the artifact says.
"""

from collections.abc import Sequence

import numpy as np

from workloads.serve.datatypes import Array
from workloads.serve.engines.engine import Engine
from workloads.serve.signature import Signature
from workloads.serve.tokenizer.tokens import LENGTHS, Row, Tokens

TEXT = "padding must not change an answer"
SAME = 1e-3  # of the largest output: float32 sums in another order


def padding_is_harmless(engine: Engine, signature: Signature, tokens: Tokens) -> bool:
    """Run one text without padding and with more and more of it. False as well when a run fails."""
    (row,) = tokens.encode([TEXT])
    longer = [length for length in LENGTHS if len(row.tokens) < length <= tokens.limit][:3]
    try:
        expected = _run(engine, signature, tokens, row, len(row.tokens))
        return all(_same(expected, _run(engine, signature, tokens, row, length)) for length in longer)
    except Exception:
        return False


def _run(engine: Engine, signature: Signature, tokens: Tokens, row: Row, length: int) -> list[Array]:
    inputs = tokens.inputs([row], length)
    outputs = engine.run([inputs[tensor.name] for tensor in signature.inputs])
    count = len(row.tokens)
    return [
        output[:, :count] if tokens.follows_tokens(tensor, output, length) else output
        for tensor, output in zip(signature.outputs, outputs, strict=True)
    ]


def _same(expected: Sequence[Array], found: Sequence[Array]) -> bool:
    for one, other in zip(expected, found, strict=True):
        if one.shape != other.shape:
            return False
        if one.dtype.kind == "f":
            largest = max(float(np.abs(one).max(initial=0.0)), 1e-6)
            if not float(np.abs(one - other).max(initial=0.0)) <= SAME * largest:
                return False
        elif not (one == other).all():
            return False
    return True
