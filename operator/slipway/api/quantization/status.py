"""Status of a QuantizationJob: its stages, what their pods report, and what the operator knows."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.common.base import MapBy, StatusModel
from slipway.api.common.job_status import (
    ArtifactStatus,
    PinnedSource,
    Progress,
    ReplicaStatus,
    RunStatus,
)
from slipway.api.common.types import Condition, Count, Digest, ShortText, Text, Time

# Shares, decibels, factors.
Figure = Annotated[float, Field(ge=-1e6, le=1e6)]
Number = Annotated[int, Field(ge=0, le=2**53)]


class Stage(StrEnum):
    """One restartable step: `python -m workloads quantize --stage STAGE`. Each leaves its result in the work folder."""

    EXPORT = "export"
    BASELINE = "baseline"
    COMPRESS = "compress"
    CALIBRATE = "calibrate"
    QUANTIZE = "quantize"
    SENSITIVITY = "sensitivity"
    QAT = "qat"
    BENCHMARK = "benchmark"
    PUBLISH = "publish"


FIRST_STAGE = Stage.EXPORT
# Run by `parallelism` pods at once, with `--shard i/n`; every other stage by one.
SHARDED = frozenset({Stage.CALIBRATE, Stage.SENSITIVITY})


class Outcome(StrEnum):
    """Outcome of a finished job."""

    QUANTIZED = "quantized"
    HALF_PRECISION = "half-precision"
    COMPRESSED = "compressed"
    KEPT_FLOAT = "kept-float"
    REJECTED = "rejected"


class Candidate(StatusModel):
    """One attempt, with the figures it was judged by."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="Rung and calibration method.")
    rung: Annotated[str, Field(max_length=64)] = Field(
        "", description="The step of the ladder; empty for the float model."
    )
    method: Annotated[str, Field(max_length=64)] = Field("", description="How the activations' ranges were chosen.")
    float_nodes: Count = Field(0, description="Nodes kept in float because they are sensitive.")
    accuracy: Figure | None = Field(None, description="Share of right answers on the evaluation samples.")
    drop: Figure | None = Field(None, description="Accuracy lost against the float model, in shares (0.01 is a point).")
    drop_low: Figure | None = Field(None, description="Lower end of the drop's confidence interval.")
    drop_high: Figure | None = Field(None, description="Upper end of the drop's confidence interval.")
    agreement: Figure | None = Field(None, description="Share of samples that get the float model's answer.")
    sqnr_db: Figure | None = Field(None, description="Signal to quantization noise of the outputs, in dB.")
    size_bytes: Number | None = Field(None, description="Of the .onnx file.")
    parameters: Number | None = Field(None, description="With compression, of the model before quantization.")
    zeros: Number | None = Field(None, description="How many of the parameters are exactly zero.")
    flops: Number | None = Field(None, description="Of one sample; zeros count like others.")
    untrained: Figure | None = Field(
        None, description="Accuracy right after a step of compression, before the training that repairs it."
    )
    speedup: Figure | None = Field(None, description="Float latency over this one, batch size 1.")
    passed: bool | None = Field(None, description="Whether all gates hold.")
    pareto: bool | None = Field(
        None, description="True: nothing else that passes beats it in accuracy, noise, size and latency together."
    )
    message: Text = Field("", description="The verdict in words.")


Comparison = Annotated[list[Candidate], Field(max_length=64), MapBy("name")]


class Headline(StatusModel):
    """The result as people read it."""

    float_: ShortText = Field("", alias="float", description="Accuracy of the float model.")
    quantized: ShortText = Field("", description="Accuracy of the selected candidate.")
    drop: ShortText = Field("", description="What was lost, with its confidence interval.")
    size: ShortText = Field("", description="How many times smaller.")
    speed: ShortText = Field("", description="How many times faster.")


class Report(StatusModel):
    """The whole story, for people and machines."""

    uri: Annotated[str, Field(max_length=1024)] = Field(description="report.html; report.json lies beside it.")
    digest: Digest = Field(description="sha256 of report.json.")


class Gate(StrEnum):
    """Gate that a candidate must pass."""

    ACCURACY = "accuracy"
    SIZE = "size"
    LATENCY = "latency"
    PERPLEXITY = "perplexity"
    AGREEMENT = "agreement"
    DIVERGENCE = "divergence"
    TASKS = "tasks"


class GateResult(StatusModel):
    """Result of one gate for the candidate of the headline."""

    name: Gate = Field(description="accuracy, size, latency, perplexity, agreement, divergence or tasks.")
    passed: bool = Field(description="Whether the gate holds.")
    message: ShortText = Field("", description="The figure and the limit.")


class StageResult(StatusModel):
    """A stage's termination message (at most 4096 bytes of JSON): what the operator carries into the status."""

    stage: Stage = Field(description="The stage that has ended.")
    next: Stage | None = Field(None, description="What to run now; absent when the job is done.")
    message: Text = Field("", description="One sentence for people.")
    source_digest: Digest | None = Field(None, description="The source as it was opened.")
    warnings: Annotated[list[Text], Field(max_length=16)] = Field(default_factory=list, description="For people.")
    comparison: Comparison = Field(default_factory=list, description="Candidates so far; the least telling left out.")
    selected: ShortText = Field("", description="Name of the candidate that will be published.")
    headline: Headline | None = Field(None, description="The result as people read it.")
    outcome: Outcome | None = Field(None, description="Set by the last stage.")
    gates: Annotated[list[GateResult], Field(max_length=6)] = Field(
        default_factory=list, description="Of the gates that the spec asks for; set by the last stage."
    )
    artifact: ArtifactStatus | None = Field(None, description="What was published.")
    report: Report | None = Field(None, description="The whole story.")


class QuantizationJobStatus(RunStatus):
    """State of the job as the operator knows it. The operator is the only writer."""

    conditions: Annotated[list[Condition], Field(max_length=16), MapBy("type")] = Field(
        default_factory=list, description="Ready, Reconciling, Stalled, SourceReady, Succeeded, Failed, ..."
    )
    source: PinnedSource | None = Field(None, description="The float model, pinned.")
    stage: Stage | None = Field(None, description="The stage that runs.")
    step: Count = Field(0, description="Number of that stage in the order they ran; it is in the pods' names.")
    spec_digest: Digest | None = Field(None, description="Of the spec that the current pods were made from.")
    attempt: Count = Field(0, description="Number of the current pods; it is in their names.")
    start_time: Time | None = Field(None, description="When the first pod was asked for.")
    queued_time: Time | None = Field(None, description="Since when the server refuses the current attempt's pods.")
    attempt_time: Time | None = Field(None, description="When the current pods were asked for.")
    running_time: Time | None = Field(None, description="When all current pods were running.")
    active_seconds: Count = Field(0, description="Running time of the pods before, for activeDeadlineSeconds.")
    replica_statuses: ReplicaStatus | None = Field(None, description="Current pods by state.")
    progress: Progress | None = Field(None, description="How far the job is.")
    warnings: Annotated[list[Text], Field(max_length=16)] = Field(
        default_factory=list, description="What is doubtful about the figures."
    )
    comparison: Comparison = Field(default_factory=list, description="Float model and candidates, with their figures.")
    selected: ShortText = Field("", description="The candidate that is published.")
    headline: Headline | None = Field(None, description="The result as people read it.")
    outcome: Outcome | None = Field(None, description="Whether a quantized or the float model was published, or none.")
    artifact: ArtifactStatus | None = Field(None, description="The published model.")
    report: Report | None = Field(None, description="The whole story, with plots.")
