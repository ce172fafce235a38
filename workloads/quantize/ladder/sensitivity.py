"""Sensitivity of a model's parts: how much the model suffers when one of them alone is quantized.

Measured part by part; a restart goes on with the next.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.quantization.settings import CalibrationMethod, Granularity, SensitivityMetric
from workloads.errors import BadInput
from workloads.onnx import external_data
from workloads.onnx import session as runtime
from workloads.onnx.feeds import Batch
from workloads.quantize.algorithms import qdq
from workloads.quantize.context import Context
from workloads.quantize.evaluation import answers
from workloads.quantize.ladder import metric

if TYPE_CHECKING:
    import numpy.typing as npt

PERFECT = 1000.0  # dB, for JSON: no difference at all
KIND = "sensitivity"
KEPT = 256 << 20  # bytes of inputs that stay in memory from one part's pass to the next


@dataclass(frozen=True)
class Part:
    """A node, or all nodes of an operator.

    `sqnr_db`: signal to noise of the outputs; `lost`: share of right answers lost.
    """

    name: str
    nodes: tuple[str, ...]
    sqnr_db: float = PERFECT
    lost: float | None = None
    problem: str = ""


def parts_of(context: Context) -> list[Part]:
    """Parts to measure, in order of the graph; none of a model over 2 GB."""
    if external_data.held(context.prepared):
        return []
    op_types = {node.name: node.op_type for node in context.prepared.graph.node}
    if context.job.spec.sensitivity.granularity is Granularity.NODE:
        return [Part(name, (name,)) for name in context.static_nodes]
    names = list(dict.fromkeys(op_types[name] for name in context.static_nodes))
    return [Part(op, tuple(name for name in context.static_nodes if op_types[name] == op)) for op in names]


def finished(context: Context, shard: int) -> bool:
    """Tell whether a shard's parts are all measured."""
    return context.work.read(context.shard_name(KIND, shard)) is not None


def measure(context: Context, shard: int, per_channel: bool, method: CalibrationMethod) -> None:
    """Measure every n-th part from `shard` on."""
    name = context.shard_name(KIND, shard)
    mine = parts_of(context)[shard :: context.job.spec.parallelism]
    done = {line["part"] for line in context.work.lines(name)}
    left = [part for part in mine if part.name not in done]
    if not left:
        context.work.write(name, {"parts": len(mine)})
        return
    batches = Passes(context)
    reference = outputs(context, runtime.session(context.prepared), batches)
    for part in context.reporter.track(left, "sensitivity", len(done)):
        context.work.append(name, {"part": part.name, **_harm(context, part, batches, reference, per_channel, method)})
    context.work.write(name, {"parts": len(mine)})


class Passes:
    """The samples for each part's pass, in calls no larger than evaluation's; more than KEPT bytes are read anew."""

    def __init__(self, context: Context) -> None:
        choice = context.job.spec.sensitivity
        self._samples, self._batches, count = context.calibration, list[list[int]](), 0
        for chosen in context.calibration_batches:
            taken = chosen[: choice.samples - count]
            count += len(taken)
            self._batches += context.within_memory(taken)
            if count == choice.samples:
                break
        self._kept: list[Batch] = []
        size, labels = 0, []
        for batch in self:
            labels.append(batch.labels)
            size += sum(values.nbytes for values in batch.feeds.values())
            self._kept = [*self._kept, batch] if size <= KEPT else []
        known = [each for each in labels if each is not None]
        self.labels = np.concatenate(known) if known and len(known) == len(labels) else None
        if choice.metric is SensitivityMetric.TASK and self.labels is None:
            raise BadInput("sensitivity.metric task needs labels in the calibration data; use sqnr")

    def __iter__(self) -> Iterator[Batch]:
        if self._kept and len(self._kept) == len(self._batches):
            return iter(self._kept)
        return (self._samples.read(chosen) for chosen in self._batches)


def outputs(context: Context, session: Any, batches: Iterable[Batch]) -> "npt.NDArray[np.float32]":
    """Judged outputs of a session for all batches, of which only the noise is looked at."""
    if metric.by_task(context):
        return np.concatenate([_rows(context, session, batch) for batch in batches])
    read = answers.outputs_of if metric.detects(context) else answers.scores_of
    place = context.judged.places[0]
    axis = context.axis_of(place)
    return np.concatenate([read(session, batch.feeds, place, axis) for batch in batches]).astype(np.float32)


def _rows(context: Context, session: Any, batch: Batch) -> "npt.NDArray[np.float32]":
    """All judged outputs in one row of samples of any shape: only their noise is looked at."""
    places = context.judged.places
    found = [answers.outputs_of(session, batch.feeds, place, context.axis_of(place)) for place in places]
    return np.concatenate([values.astype(np.float32).ravel() for values in found])


def _harm(
    context: Context,
    part: Part,
    batches: Passes,
    reference: "npt.NDArray[np.float32]",
    per_channel: bool,
    method: CalibrationMethod,
) -> dict[str, Any]:
    try:
        model = qdq.static(
            context.prepared,
            context.ranges(method),
            context.profile,
            part.nodes,
            per_channel=per_channel,
            bits=context.job.spec.weights.bits,
        )
        found = outputs(context, runtime.session(model), batches)
    except Exception as error:  # a part that the library cannot quantize alone is the first to be left out
        return {"sqnrDb": -PERFECT, "lost": 1.0, "problem": f"{type(error).__name__}: {error}"[:200]}
    noise = answers.sqnr_db(reference, found)
    lost = None if batches.labels is None else metric.lost(context, reference, found, batches.labels)
    return {"sqnrDb": PERFECT if noise is None else noise, "lost": lost}


def ranking(context: Context) -> list[Part]:
    """All parts, the most sensitive first. By the job's metric; equals by noise, then in order of the graph."""
    lines: dict[str, Mapping[str, Any]] = {}
    for shard in range(context.job.spec.parallelism):
        lines.update({line["part"]: line for line in context.work.lines(context.shard_name(KIND, shard))})
    measured = [_measured(part, lines[part.name]) for part in parts_of(context)]
    by_task = context.job.spec.sensitivity.metric is SensitivityMetric.TASK
    return sorted(measured, key=lambda part: (-(part.lost or 0.0) if by_task else 0.0, part.sqnr_db))


def _measured(part: Part, line: Mapping[str, Any]) -> Part:
    return Part(part.name, part.nodes, line["sqnrDb"], line["lost"], line.get("problem", ""))
