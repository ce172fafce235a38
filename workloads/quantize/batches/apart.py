"""Independence of the samples of one call, and the axis of each answer that counts them.

Asked of the float model once, on its first samples: a sample among others must get what it gets among copies of itself.
Of a sequence whose first axis is time it does not, and a gate that took its steps for samples would judge nothing.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.onnx import session as runtime
from workloads.onnx.feeds import SampleCall, filled, fixed_of, rows_of
from workloads.onnx.samples.layout import WAY_OUT

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]
    Feeds = dict[str, Array]

TOLERANCE = 2e-2  # of the largest number of an output: 16-bit arithmetic, other kernels for another batch


def axes_of(model: "onnx.ModelProto", feeds: "Feeds") -> dict[str, int | None]:
    """The samples' axis of each output that holds numbers; None: only a call of one sample tells its answer.

    Empty where it cannot be told: one sample alone, or a model that answers the same call differently.
    BadInput when no output has an answer of each sample's own.
    """
    if isinstance(feeds, SampleCall):
        return {}
    session = runtime.session(model)
    fixed = fixed_of(session)
    if fixed == 1:
        return _of_one(session, feeds)
    if rows_of(feeds) < 2:
        return {}
    joint = run(session, filled(feeds, fixed) if fixed else feeds)
    again = run(session, filled(feeds, fixed) if fixed else feeds)
    rows, length = min(rows_of(feeds), fixed or rows_of(feeds)), fixed or rows_of(feeds)
    if rows < 2:
        return {}
    copies = [run(session, filled(_row(feeds, row), length)) for row in range(rows)]
    found: dict[str, int | None] = {}
    own = False
    for place, port in enumerate(session.get_outputs()):
        one, others = joint[place], [copy[place] for copy in copies]
        if not isinstance(one, np.ndarray) or one.dtype.kind not in "fiub" or not _near(one, again[place]):
            continue
        found[port.name] = _axis(one, others, length)
        own |= found[port.name] is not None or any(other.shape != one.shape for other in others)
    if found and not own and not (fixed is None and _in_parts(session, feeds, joint)):
        raise BadInput(
            "a sample gets another answer among others than among copies of itself: the first axis of the model's "
            f"inputs is not the batch, or it mixes samples; {WAY_OUT}"
        )
    return found


def _of_one(session: Any, feeds: "Feeds") -> dict[str, int | None]:
    """Samples' axis of each output of a model that takes one sample a call.

    The first axis where its length is 1, and not that of another axis; else None.

    [1, time, features] to [time, classes], say: all of that is the one sample's.
    """
    free = {axis for port in session.get_inputs() for axis in port.shape[1:] if isinstance(axis, str)}
    return {
        port.name: 0 if value.shape[:1] == (1,) and port.shape[:1] and port.shape[0] not in free else None
        for port, value in zip(session.get_outputs(), run(session, _row(feeds, 0)), strict=True)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }


def _row(feeds: "Feeds", row: int) -> "Feeds":
    return {name: value[row : row + 1] for name, value in feeds.items()}


def run(session: Any, feeds: "Feeds") -> list[Any]:
    """All outputs of a call. BadInput when the model cannot be run with these inputs."""
    try:
        answers: list[Any] = session.run(None, feeds)
    except MemoryError:
        raise
    except Exception as error:  # the library raises a dozen unrelated types
        raise BadInput(f"ONNX Runtime cannot run the model: {str(error).strip().splitlines()[0]}"[:500]) from error
    return answers


def _axis(joint: "Array", copies: "list[Array]", length: int) -> int | None:
    """The first axis along which every sample has what it has among copies of itself."""
    for axis in range(joint.ndim):
        if joint.shape[axis] == length and all(
            copy.shape == joint.shape and _near(joint.take(row, axis), copy.take(row, axis))
            for row, copy in enumerate(copies)
        ):
            return axis
    return None


def _in_parts(session: Any, feeds: "Feeds", joint: list[Any]) -> bool:
    """Tell whether some output joins the samples' own ones one after the other: several rows for each."""
    try:
        alone = [run(session, _row(feeds, row)) for row in range(rows_of(feeds))]
    except BadInput:
        return False
    for place, one in enumerate(joint):
        parts = [each[place] for each in alone]
        for axis in range(one.ndim if isinstance(one, np.ndarray) else 0):
            shapes = {part.shape[:axis] + part.shape[axis + 1 :] for part in parts if part.ndim == one.ndim}
            if len(shapes) == 1 and _near(one, np.concatenate(parts, axis)):
                return True
    return False


def _near(expected: "Array", found: "Array") -> bool:
    if expected.shape != found.shape:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(expected, found))
    first, second = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(first)
    if not np.array_equal(finite, np.isfinite(second)):
        return False
    if not finite.any():
        return True
    largest = max(1e-6, float(np.abs(first[finite]).max()))
    return float(np.abs(first[finite] - second[finite]).max()) <= TOLERANCE * largest
