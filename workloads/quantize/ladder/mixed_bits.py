"""Int4 beside int8 weights: the products that suffer most from 4 bits keep 8, the fewest of them that suffice.

Weights alone are rounded, so no ranges are needed: each product's weight is rounded to 4 bits alone, and the noise that
this leaves in the outputs ranks it. Measured product by product; a restart goes on with the next.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.onnx import session as runtime
from workloads.quantize.algorithms import qdq
from workloads.quantize.context import Context
from workloads.quantize.evaluation import answers
from workloads.quantize.ladder import sensitivity

if TYPE_CHECKING:
    import numpy.typing as npt

    from workloads.onnx.feeds import Batch

RECORD = "sensitivity/int4"
SAMPLES = 64


def ranking(context: Context, nodes: Sequence[str]) -> list[str]:
    """Rank those of `nodes` that 4 bits are stored for: who suffers most first, equals in order of the graph."""
    noise = {str(line["node"]): line["sqnrDb"] for line in context.work.lines(RECORD)}
    left = [node for node in nodes if node not in noise]
    if left:
        batches = _batches(context)
        reference = sensitivity.outputs(context, runtime.session(context.prepared), batches)
        for node in context.reporter.track(left, "sensitivity to 4 bits", len(noise)):
            noise[node] = _noise(context, node, batches, reference)
            context.work.append(RECORD, {"node": node, "sqnrDb": noise[node]})
    return sorted((node for node in nodes if noise[node] is not None), key=lambda node: noise[node])


def _batches(context: Context) -> "list[Batch]":
    """A few samples to measure on: of calibration, or of evaluation where the job has no other."""
    if context.job.spec.calibration is None:
        return [context.evaluation.read(chosen) for chosen in context.evaluation_batches(SAMPLES)]
    found, count = [], 0
    for batch in context.calibration_batches:
        for chosen in context.within_memory(batch):
            if count < SAMPLES:
                found.append(context.calibration.read(chosen))
                count += len(chosen)
    return found


def _noise(context: Context, node: str, batches: "list[Batch]", reference: "npt.NDArray[np.float32]") -> float | None:
    """Decibels of the outputs when this node alone has 4 bits; None when it is no product that can have them."""
    try:
        model: Any = qdq.weight_only(context.prepared, 4, [node])
        if model is None:
            return None
        found = answers.sqnr_db(reference, sensitivity.outputs(context, runtime.session(model), batches))
    except (ImportError, MemoryError, OSError):
        raise  # the machine's fault
    except BadInput:  # it answers NaN
        return -sensitivity.PERFECT
    except Exception:  # whatever the library raises inside its rewriting: bisection has named it before
        return None
    return sensitivity.PERFECT if found is None else found
