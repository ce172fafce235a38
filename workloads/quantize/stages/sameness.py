"""Comparison of a graph with the one that it was made from, on samples, to tell whether it is the same function.

Asked of whatever a library did to a graph before it is quantized. Rounding differs; a changed function differs more.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.onnx import session
from workloads.onnx.feeds import filled
from workloads.quantize.context import Context
from workloads.quantize.evaluation.answers import sqnr_db
from workloads.quantize.evaluation.gates import LEAST_DB
from workloads.quantize.graph import walk

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

SAMPLES = 4
TOLERANCE = 1e-3  # of the largest number of an output: sums in another order, kernels of another kind
TOLERANCE_HALF = 2e-2  # against weights and arithmetic of 16 bits
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def on_samples(context: Context, model: "onnx.ModelProto") -> "Callable[[onnx.ModelProto], bool]":
    """Function that tells whether another graph gives this model's outputs on the job's first samples."""
    from workloads.quantize.graph import widen

    tolerance = TOLERANCE_HALF if widen.narrow_type(model) else TOLERANCE
    given = first_samples(context)
    fixed = context.source.fixed_batch
    given = filled(given, fixed) if fixed else given
    expected = _answers(model, given)

    def same(other: "onnx.ModelProto") -> bool:
        try:
            found = _answers(other, given)
        except BadInput:
            return False
        return len(found) == len(expected) and all(map(_near(tolerance), expected, found))

    return same


def _answers(model: "onnx.ModelProto", feeds: "dict[str, npt.NDArray[Any]]") -> list[Any]:
    return _called(session.session(model), feeds)


def _called(opened: Any, feeds: "dict[str, npt.NDArray[Any]]") -> list[Any]:
    try:
        answers: list[Any] = opened.run(None, feeds)
    except (BadInput, MemoryError, OSError):
        raise
    except Exception as error:  # the library raises a dozen unrelated types
        raise BadInput(f"ONNX Runtime cannot run the model: {str(error).strip().splitlines()[0]}"[:500]) from error
    return answers


def require_steady(context: Context, model: "onnx.ModelProto") -> None:
    """BadInput for a graph whose random numbers change its answers more than a ruined candidate would.

    Only graphs that hold such operators are asked twice. What is drawn may be small: a synthesiser's noise, say.
    """
    drawn = [node for node in walk.nodes(model.graph) if _draws(node)]
    if not drawn:
        return
    given, fixed = first_samples(context), context.source.fixed_batch
    given = filled(given, fixed) if fixed else given
    # Twice of one session: each session begins with the same seed.
    opened = session.session(model)
    for first, second in zip(_called(opened, given), _called(opened, given), strict=True):
        if not isinstance(first, np.ndarray) or first.dtype.kind not in "fiub":
            continue
        worth = sqnr_db(first, second) if first.shape == second.shape else float("-inf")
        if worth is not None and worth < LEAST_DB:
            named = ", ".join(f"{node.name or node.output[0]} ({node.op_type})" for node in drawn[:3])
            raise BadInput(
                f"the float model answers the same samples differently each time: {named} draws random numbers; export "
                "the model for inference, or give the random numbers as an input"
            )


def _draws(node: Any) -> bool:
    """Tell whether a node draws numbers anew in each call; one with a seed goes on with the next ones, too."""
    return node.op_type in RANDOM and node.domain in {"", "ai.onnx"}


def first_samples(context: Context) -> "dict[str, npt.NDArray[Any]]":
    """The job's first samples of one shape, at most four."""
    samples, batches = context.evaluation, context.evaluation_batches(SAMPLES)
    return samples.read(batches[0][:SAMPLES]).feeds


def _near(tolerance: float) -> Callable[[Any, Any], bool]:
    def near(expected: Any, found: Any) -> bool:
        if not isinstance(expected, np.ndarray) or expected.dtype.kind not in "fiub":
            return True  # strings, sequences and maps: what they are made of is compared where it is an output
        if expected.shape != found.shape:
            return False
        if expected.dtype.kind != "f":
            return bool((expected == found).mean() > 1 - tolerance) if expected.size else True
        first, second = expected.astype(np.float64), found.astype(np.float64)
        finite = np.isfinite(first)
        if not np.array_equal(finite, np.isfinite(second)) or not finite.any():
            return bool(np.array_equal(finite, np.isfinite(second)))
        largest = max(1e-6, float(np.abs(first[finite]).max()))
        return float(np.abs(first[finite] - second[finite]).max()) <= tolerance * largest

    return near
