"""Context of a job that every stage needs.

The job, its work folder, and what earlier stages left there, opened when first asked for.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from slipway.api.quantization.evaluation import Evaluation, EvaluationMetric
from slipway.api.quantization.ladder import Hardware, Target
from slipway.api.quantization.settings import Calibration, CalibrationMethod
from workloads import data
from workloads.errors import BadInput
from workloads.onnx import file
from workloads.onnx.feeds import Samples
from workloads.onnx.samples.sources import calibration_samples, choose, evaluation_samples
from workloads.quantize.algorithms import bias_correction, qdq, smooth_quant, weight_only
from workloads.quantize.algorithms.target import Profile, profile_of
from workloads.quantize.calibration import masks, ranges, statistics
from workloads.quantize.calibration.observer import Observer
from workloads.quantize.calibration.scale import Range
from workloads.quantize.calibration.statistics import Statistics
from workloads.quantize.evaluation.judged import JudgedOutputs, judged
from workloads.quantize.job import Job
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.source import Source
from workloads.quantize.workdir import Work

if TYPE_CHECKING:
    import onnx

Data = TypeVar("Data", Calibration, Evaluation)
MEAN_BATCHES = 16  # of calibration data, for the means that biases are corrected by
SOURCE, FLOAT_MODEL, PREPARED_MODEL = "source", "float.onnx", "prepared.onnx"
COMPRESSED, SMALLER_MODEL = "compressed", "smaller.onnx"


@dataclass
class Context:
    """One process's view of the job."""

    job: Job
    work: Work
    reporter: ProgressReporter
    _ranges: dict[CalibrationMethod, dict[str, Range]] = field(default_factory=dict)
    _smoothed: dict[float, tuple[Any, Statistics]] = field(default_factory=dict)

    @cached_property
    def source(self) -> Source:
        """The pinned source."""
        return Source.restore(self.work.require(SOURCE))

    @property
    def source_remarks(self) -> list[str]:
        """Remarks on what was converted before the graph could be rewritten."""
        remarks: list[str] = self.work.require(SOURCE).get("remarks", [])
        return remarks

    @cached_property
    def float_model(self) -> "onnx.ModelProto":
        """Float model as it was exported: what the candidates are compared with."""
        return file.load(self.work.path(FLOAT_MODEL), own=True)

    @cached_property
    def prepared(self) -> "onnx.ModelProto":
        """Prepared model, simplified and shape-inferred: what the candidates are made from."""
        return file.load(self.prepared_path, own=True)

    @property
    def prepared_path(self) -> Path:
        """Path of the prepared model.

        That is the compressed model, once a step of compression has passed the accuracy gate.
        """
        return self.work.path(PREPARED_MODEL if self.smaller is None else SMALLER_MODEL)

    @property
    def smaller(self) -> str | None:
        """Digest of the compressed model's artifact in the work folder; None when the float model is gone on with."""
        record = self.work.read(COMPRESSED)
        return None if record is None else record["digest"]

    def renew(self) -> None:
        """Forget what was read off the prepared model: it is another one now."""
        for name in ("prepared", "excluded", "nodes", "_masked"):
            self.__dict__.pop(name, None)

    @property
    def trainable(self) -> tuple[str, str]:
        """URI and digest of the artifact with the weights that are quantized."""
        if self.smaller is None:
            return self.source.uri, self.source.digest
        name = self.work.require(COMPRESSED)["selected"]
        return self.work.path(f"compress/{name}").as_uri(), self.smaller

    def corrected(self, nodes: Collection[str]) -> "onnx.ModelProto":
        """The prepared model with biases that make up for the rounding of the weights of `nodes`."""
        means, rounded = self._shifts
        return bias_correction.corrected(self.prepared, means, rounded, nodes)

    @cached_property
    def _shifts(self) -> Any:
        batches = self.calibration_batches[:MEAN_BATCHES]
        means = bias_correction.channel_means(
            self.prepared, (self.calibration.read(chosen).feeds for chosen in batches)
        )
        bits, reduced = self.job.spec.weights.bits, self.profile.reduced_weights
        return means, weight_only.rounded(self.prepared, bits, set(self.nodes), reduced=reduced)

    def smoothed(self, alpha: float) -> tuple[Any, Statistics]:
        """The prepared model with smoothed products, and the statistics of the tensors that are others in it.

        These are collected anew: other values of a channel cannot be told from a tensor's histogram.
        """
        if alpha not in self._smoothed:
            model, changed = smooth_quant.smoothed(self.prepared, self._peaks, set(self.nodes), alpha)
            observer, found = Observer(model, changed), Statistics()
            for chosen in self.reporter.track(self.calibration_batches, f"calibration, smoothed by {alpha:g}"):
                observer.observe(self.calibration.read(chosen).feeds, found)
            self._smoothed[alpha] = model, found
        return self._smoothed[alpha]

    @cached_property
    def _peaks(self) -> Any:
        wanted = set(smooth_quant.products_of(self.prepared, set(self.nodes)))
        batches = (self.calibration.read(chosen).feeds for chosen in self.calibration_batches)
        return smooth_quant.peaks_of(self.prepared, wanted, batches)

    @cached_property
    def profile(self) -> Profile:
        """Profile of the target."""
        return profile_of(self.target)

    @cached_property
    def target(self) -> Target:
        """Target of the job, with `auto` resolved.

        Its hardware is that of the node where the job began: later stages may run on another.
        """
        asked = self.job.spec.target
        if asked.hardware is not Hardware.AUTO:
            return asked
        return asked.model_copy(update={"hardware": Hardware(self.work.require(SOURCE)["hardware"])})

    @cached_property
    def excluded(self) -> list[str]:
        """Nodes that the job keeps in float."""
        return qdq.excluded_nodes(self.prepared, self.job.spec.exclude)

    @cached_property
    def nodes(self) -> list[str]:
        """Nodes that a static candidate quantizes."""
        kept = [*self.excluded, *self.work.require(SOURCE).get("floatNodes", [])]
        return qdq.quantizable_nodes(self.prepared, self.profile, kept)

    @property
    def static_nodes(self) -> list[str]:
        """Nodes that a static candidate quantizes, without those around a mask, once the ranges are known."""
        return [node for node in self.nodes if node not in self.masked]

    @property
    def masked(self) -> frozenset[str]:
        """Nodes that read or give a mask, whose range no 8 bits hold beside the scores'; none before calibration."""
        shards = range(self.job.spec.parallelism)
        there = all(self.work.path(f"{self.shard_name('calibration', shard)}.npz").exists() for shard in shards)
        return self._masked if there else frozenset()

    @cached_property
    def _masked(self) -> frozenset[str]:
        return masks.nodes_at(self.prepared, self.statistics)

    @cached_property
    def calibration(self) -> Samples:
        """Calibration samples. BadInput when the job has none."""
        if self.job.spec.calibration is None:
            raise BadInput("the job has no calibration data: set calibration")
        choice = self._own_tokens(self.job.spec.calibration)
        source = self.source
        return calibration_samples(choice, source.ports, source.preprocessing, source.text, source.task)

    @cached_property
    def evaluation(self) -> Samples:
        """Evaluation samples, with labels where the metric needs them."""
        choice = self.job.spec.evaluation
        labels = choice.metric is not EvaluationMetric.AGREEMENT
        source = self.source
        found = evaluation_samples(
            self._own_tokens(choice), source.ports, source.preprocessing, source.text, source.task, want_labels=labels
        )
        if bool(found.classes) != (choice.metric is EvaluationMetric.PRECISION50):
            raise BadInput(
                f"evaluation.metric {choice.metric} does not fit {found.name}: {EvaluationMetric.PRECISION50} is for "
                "boxes, those of shapes, yolo-folder and .npz files, and the data sets are for no other"
            )
        return found

    def _own_tokens(self, choice: Data) -> Data:
        """Data with the model's own tokenizer for texts, where the job names none."""
        text = self.source.text
        if choice.dataset is None or choice.dataset.tokenizer is not None or text is None or text.tokenizer == "bytes":
            return choice
        if choice.dataset.name.value not in {*data.CHOSEN, *data.BY_TASK}:
            return choice
        tokenizer = f"{self.source.uri.rstrip('/')}/{text.tokenizer}"
        return choice.model_copy(update={"dataset": choice.dataset.model_copy(update={"tokenizer": tokenizer})})

    @cached_property
    def judged(self) -> JudgedOutputs:
        """Task, outputs and threshold by which answers are compared."""
        return judged(
            self.float_model,
            self.job.spec.evaluation,
            self.source.task,
            self.output_axes,
            whole=self.evaluation.whole,
        )

    @property
    def output_axes(self) -> dict[str, int | None]:
        """Axis of each output along which its samples lie; None: only a call of one sample tells its answer."""
        axes: dict[str, int | None] = (self.work.read(SOURCE) or {}).get("outputAxes", {})
        return axes

    def axis_of(self, place: int) -> int | None:
        """Axis of an output by its number."""
        return self.output_axes.get(self.float_model.graph.output[place].name, 0)

    @cached_property
    def calibration_batches(self) -> list[list[int]]:
        """Calibration batches of the whole job; shard i of n takes every n-th from i on."""
        choice = self.job.spec.calibration
        if choice is None:
            raise BadInput("the job has no calibration data: set calibration")
        chosen = choose(len(self.calibration), choice.samples, choice.seed)
        return self.calibration.batches(chosen, self.source.fixed_batch or choice.batch_size)

    def evaluation_batches(self, limit: int | None = None) -> list[list[int]]:
        """Batches of the samples that are judged on; `limit` takes the first so many samples."""
        choice = self.job.spec.evaluation
        count = min(len(self.evaluation), choice.samples or len(self.evaluation), limit or len(self.evaluation))
        return self.evaluation.batches(range(count), self._evaluated_together)

    @property
    def _evaluated_together(self) -> int:
        """Number of samples in one call of evaluation."""
        alone = bool(self.output_axes) and None in map(self.axis_of, self.judged.places)
        if alone:
            return 1
        asked = self.source.fixed_batch or self.job.spec.evaluation.batch_size
        return min(asked, (self.work.read(SOURCE) or {}).get("together") or asked)

    def within_memory(self, batch: list[int]) -> list[list[int]]:
        """A batch in calls of no more samples than evaluation's may have; whole where that is not known.

        A graph with a fixed batch takes it as it is.
        """
        most = (self.work.read(SOURCE) or {}).get("together")
        step = most if most and self.source.fixed_batch is None else max(1, len(batch))
        return [batch[begin : begin + step] for begin in range(0, len(batch), step)]

    def shard_name(self, kind: str, shard: int) -> str:
        """Name of the file that one shard writes."""
        return f"{kind}/{shard}-of-{self.job.spec.parallelism}"

    @cached_property
    def statistics(self) -> Statistics:
        """Calibration statistics of all shards together."""
        merged: Statistics = {}
        for shard in range(self.job.spec.parallelism):
            part, _ = statistics.load(self.work.path(f"{self.shard_name('calibration', shard)}.npz"))
            statistics.merge(merged, part)
        return merged

    def ranges(self, method: CalibrationMethod) -> dict[str, Range]:
        """Ranges of every tensor of which something finite was seen."""
        if method not in self._ranges:
            self._ranges[method] = self.ranges_of(self.statistics, method)
        return self._ranges[method]

    def ranges_of(self, seen: Statistics, method: CalibrationMethod) -> dict[str, Range]:
        """Ranges of other statistics than those of the prepared model."""
        if self.job.spec.calibration is None:
            raise BadInput("the job has no calibration data: set calibration")
        share, levels = self.job.spec.calibration.percentile, self.profile.activations
        return {name: ranges.find(tensor, method, levels, share) for name, tensor in seen.items() if tensor.count}
