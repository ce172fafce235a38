"""QuantizationJob v1alpha1: its spec and what makes it wrong."""

import json
import re
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule, problems_of
from slipway.api.common.kind import OBJECT_NAME, Column, Kind, condition_column, unseen_status
from slipway.api.common.pod import PodSettings
from slipway.api.common.types import FailurePolicy, RunPolicy, same
from slipway.api.quantization.evaluation import Evaluation, EvaluationMetric
from slipway.api.quantization.gates import Gates
from slipway.api.quantization.ladder import LADDER, Goal, Rung, Runtime, Target
from slipway.api.quantization.ladder_rules import RULES as LADDER_RULES
from slipway.api.quantization.placement import Worker, WorkFolder
from slipway.api.quantization.settings import (
    Benchmark,
    Calibration,
    Exclusions,
    OnFailure,
    Qat,
    Sensitivity,
    SourceModel,
    Weights,
)
from slipway.api.quantization.status import QuantizationJobStatus
from slipway.api.training.compression import SPARSE_LAST, Steps
from slipway.api.training.recipe import Output

# `<job>-<step>-<shard>-a<attempt>` must stay a DNS label of 63 characters: 4, 4 and 6 for these.
NAME_BUDGET = 63 - 4 - 4 - 6
# What the finished stages were computed from.
FIXED_FIELDS = (
    "model",
    "calibration",
    "evaluation",
    "target",
    "compression",
    "ladder",
    "optimizeFor",
    "exclude",
    "weights",
    "sensitivity",
    "qat",
    "gates",
    "onFailure",
    "benchmark",
    "parallelism",
    "output",
    "work",
)


def _data_for_qat(spec: "QuantizationJobSpec") -> bool:
    return spec.ladder != [Rung.QAT] or (spec.calibration is not None and spec.calibration.dataset is not None)


def _data_for_compression(spec: "QuantizationJobSpec") -> bool:
    return spec.compression is None or (spec.calibration is not None and spec.calibration.dataset is not None)


def _clock_for_latency(spec: "QuantizationJobSpec") -> bool:
    return spec.gates.latency is None or spec.target.runtime is not Runtime.HLS


def _classes_for_compression(spec: "QuantizationJobSpec") -> bool:
    return spec.compression is None or spec.evaluation.metric is not EvaluationMetric.PRECISION50


def _torch_for_compression(spec: "QuantizationJobSpec") -> bool:
    return spec.compression is None or spec.target.runtime not in {Runtime.LITERT, Runtime.HLS}


def _work_somewhere(spec: "QuantizationJobSpec") -> bool:
    return spec.work is not None or spec.output.uri.startswith(("pvc://", "file://"))


def _work_apart(spec: "QuantizationJobSpec") -> bool:
    return spec.work is None or not f"{spec.work.uri}/".startswith(f"{spec.output.uri}/")


def _output_apart(spec: "QuantizationJobSpec") -> bool:
    return spec.model.uri != spec.output.uri


class QuantizationJobSpec(Model):
    """The model to quantize, the target to quantize it for, and the gates that the result must pass."""

    cel: ClassVar[tuple[Rule, ...]] = (
        *LADDER_RULES,
        Rule(
            "self.ladder != ['qat'] || (has(self.calibration) && has(self.calibration.dataset))",
            "the rung qat trains on calibration.dataset: set it",
            _data_for_qat,
        ),
        SPARSE_LAST,
        uris.in_shipped_images(lambda spec: spec.worker.image, "model", "calibration", "evaluation", "output"),
        Rule(
            "!has(self.compression) || (has(self.calibration) && has(self.calibration.dataset))",
            "compression is followed by training on calibration.dataset: set it",
            _data_for_compression,
        ),
        Rule(
            "!has(self.compression) || !(self.target.runtime in ['litert', 'hls'])",
            "compression is not for litert here, nor for hls: let a TrainingJob compress, and quantize its artifact",
            _torch_for_compression,
        ),
        Rule(
            "!has(self.gates.latency) || self.target.runtime != 'hls'",
            "no FPGA is measured here, only estimated: leave gates.latency out with target.runtime hls",
            _clock_for_latency,
        ),
        Rule(
            "!has(self.compression) || self.evaluation.metric != 'average-precision-50'",
            "compression trains classifiers here: let a TrainingJob compress the detector, and quantize its artifact",
            _classes_for_compression,
        ),
        Rule(
            "!has(self.model.uri) || self.model.uri != self.output.uri",
            "output.uri is where the float model lies, which would be replaced: choose another folder",
            _output_apart,
        ),
        Rule(
            "has(self.work) || self.output.uri.startsWith('pvc://') || self.output.uri.startsWith('file://')",
            "the output is an object store, which cannot hold unfinished work: set work.uri to a folder on a claim",
            _work_somewhere,
        ),
        Rule(
            "!has(self.work) || !(self.work.uri + '/').startsWith(self.output.uri + '/')",
            "work.uri lies in output.uri, which is replaced as a whole: choose two folders side by side",
            _work_apart,
        ),
        *(
            Rule(same(field), f"{field} cannot be changed: delete the job and create it again")
            for field in FIXED_FIELDS
        ),
    )
    model: SourceModel = Field(description="The float model.")
    calibration: Calibration | None = Field(None, description="Samples that show which values the tensors take.")
    evaluation: Evaluation = Field(description="Held-out samples on which float and quantized are compared.")
    target: Target = Field(default_factory=Target, description="Where the quantized model will be served.")
    compression: Steps | None = Field(
        None,
        description="What is taken away from the model before the ladder, step by step. Each is repaired by training "
        "as qat says and is a row of its own; one that fails the accuracy gate is undone. The ladder starts from what "
        "is left.",
    )
    ladder: Annotated[
        list[Rung], Field(min_length=1, max_length=14, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(
        default_factory=lambda: list(LADDER),
        description="Tried in this order until a candidate passes the gates. With optimizeFor, and as it is by "
        "default, all cheap ones (static, dynamic, weight-only, fp8, fp16) are tried first, and the best that passes "
        "is taken.",
    )
    optimize_for: Goal | None = Field(
        None,
        description="How the best of the cheap candidates that pass is chosen. latency: the fastest, then the "
        "smallest; size: the other way round; accuracy: the most accurate; balanced: times faster multiplied by times "
        "smaller. What is nearly equal is decided by the least noise. Unset: balanced with the default ladder, and "
        "the first rung that passes with another.",
    )
    exclude: Exclusions = Field(default_factory=Exclusions, description="What stays float in every candidate.")
    weights: Weights = Field(default_factory=Weights, description="How static rungs and qat quantize the weights.")
    sensitivity: Sensitivity = Field(default_factory=Sensitivity, description="How the worst layers are found.")
    qat: Qat = Field(
        default_factory=Qat, description="The training of the rung qat, and after each step of compression."
    )
    gates: Gates = Field(default_factory=Gates, description="What a candidate must pass to be published.")
    on_failure: OnFailure = Field(
        OnFailure.KEEP_FLOAT, description="keep-float publishes the float model as ONNX; fail publishes nothing."
    )
    benchmark: Benchmark = Field(default_factory=Benchmark, description="How latency is measured.")
    parallelism: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="Pods that share calibration and sensitivity analysis; the result does not depend on it."
    )
    output: Output = Field(description="Where the quantized artifact and its report go.")
    work: WorkFolder | None = Field(None, description="Beside the output when unset.")
    worker: Worker = Field(default_factory=Worker, description="The container of every stage.")
    pod: PodSettings = Field(default_factory=PodSettings, description="What the pods share beside their container.")
    run_policy: RunPolicy = Field(default_factory=RunPolicy, description="When the job runs and what is left of it.")
    failure_policy: FailurePolicy = Field(default_factory=FailurePolicy, description="What a failed pod means.")


def work_uri(spec: QuantizationJobSpec) -> str:
    """The folder of unfinished work: as asked for, else beside the output."""
    return spec.work.uri if spec.work is not None else f"{spec.output.uri.rstrip('/')}.work"


def name_problems(name: str) -> list[str]:
    """Check that the pods can be named after the job. Returns every problem in words."""
    problems = []
    if not re.search(OBJECT_NAME, name):
        problems.append(
            "metadata.name: pods are named after it: use lower case letters, digits and '-', a letter first"
        )
    if len(name) > NAME_BUDGET:
        problems.append(
            f"metadata.name: {len(name)} characters, and the names of its pods leave room for {NAME_BUDGET}: shorten it"
        )
    return problems


def spec_problems(name: str, spec: dict[str, Any]) -> tuple[QuantizationJobSpec | None, list[str]]:
    """Parse a spec as the API server gave it. Returns the model, or None and every problem in words."""
    try:
        # Strict, as the API server is: "2" is no integer and 1 is no boolean.
        parsed = QuantizationJobSpec.model_validate_json(json.dumps(spec), strict=True)
    except ValidationError as error:
        return None, problems_of(error)
    problems = name_problems(name)
    return (None, problems) if problems else (parsed, [])


KIND = Kind(
    kind="QuantizationJob",
    plural="quantizationjobs",
    singular="quantizationjob",
    short="qj",
    description="Quantizes a trained model until it passes its gates, and proves it in a report.",
    spec=QuantizationJobSpec,
    status=QuantizationJobStatus,
    default_status=unseen_status(),
    name_length=NAME_BUDGET,
    columns=(
        condition_column("Ready", "Ready", "status", description="True once a model is published"),
        condition_column("Reason", "Ready", "reason", description="Why it is or is not ready"),
        Column("Stage", ".status.stage", description="What runs now"),
        Column("Progress", ".status.progress.percent", "integer", description="Percent of the whole ladder"),
        Column("FP32", ".status.headline.float", description="Accuracy of the float model"),
        Column("INT8", ".status.headline.quantized", description="Accuracy of the selected candidate"),
        Column("Drop", ".status.headline.drop", description="What was lost, with its confidence interval"),
        Column("Size", ".status.headline.size", description="How many times smaller"),
        Column("Speed", ".status.headline.speed", description="How many times faster"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Selected", ".status.selected", priority=1, description="The candidate that is published"),
        Column("Report", ".status.report.uri", priority=1, description="The whole story, with plots"),
        Column("Artifact", ".status.artifact.uri", priority=1, description="Where the model lies"),
    ),
)
