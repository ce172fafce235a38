"""The parts of a status that every kind with an end shows: replicas, last failure, progress, artifact."""

from typing import Annotated

from pydantic import Field

from slipway.api.common.base import MapBy, StatusModel
from slipway.api.common.language import LanguageFacts
from slipway.api.common.types import MAX_INT32, Condition, Count, Digest, LongText, ShortText, Text, Time


class ReplicaStatus(StatusModel):
    """Counts of the current attempt's pods by state."""

    desired: Count = Field(0, description="Pods of the gang.")
    active: Count = Field(0, description="Pods that have not ended.")
    ready: Count = Field(0, description="Pods that run and are ready.")
    succeeded: Count = Field(0, description="Pods that ended with exit code 0.")
    failed: Count = Field(0, description="Pods that failed.")


class LastFailure(StatusModel):
    """Failure that ended the last failed attempt: the pod that failed first, and why."""

    pod: Annotated[str, Field(max_length=253)] = Field(description="The pod that failed first.")
    node: Annotated[str, Field(max_length=253)] = Field("", description="The node it ran on.")
    container: Annotated[str, Field(max_length=63)] = Field("", description="The container that ended.")
    exit_code: Annotated[int, Field(ge=-(2**31), le=MAX_INT32)] | None = Field(None, description="Its exit code.")
    signal: Annotated[str, Field(max_length=16)] = Field("", description="The signal that killed it, such as SIGKILL.")
    reason: ShortText = Field(description="OOMKilled, Evicted, NodeLost, Error, ...")
    message: Text = Field("", description="The server's words, or the end of the log.")
    time: Time = Field(description="When it failed.")
    attempt: Count = Field(description="The attempt that failed.")


class CompletedStatus(StatusModel):
    """Work that the current attempt has completed; not lost with its pods."""

    indexes: Annotated[str, Field(max_length=8192, pattern=r"^[0-9,-]*$")] = Field(
        "", description="Nodes that have succeeded, such as 0,2-5."
    )
    result: LongText = Field("", description="What one of them said last, if it names what was made or comes next.")


class BackoffStatus(StatusModel):
    """Restarts that followed each other without a long healthy run between them, and tries that the server refused."""

    restarts: Count = Field(0, description="Restarts in a row.")
    refusals: Count | None = Field(
        None, description="Tries in a row in which the server did not let all pods be created."
    )
    next_attempt_time: Time | None = Field(None, description="When the pods are made anew, after a pause.")


class RunStatus(StatusModel):
    """Restarts of a job that runs in attempts, and its end: of a TrainingJob and a QuantizationJob alike."""

    # Each kind describes its own; they are here to come first.
    conditions: Annotated[list[Condition], Field(max_length=16), MapBy("type")] = Field(
        default_factory=list, description="Ready, Reconciling, Stalled, Succeeded, Failed, ..."
    )
    observed_generation: Annotated[int, Field(ge=-1, le=2**53)] | None = Field(
        None, description="metadata.generation of the spec that this status is about."
    )
    restart_count: Count = Field(0, description="Restarts after failures, all causes.")
    restart_count_towards_max: Count = Field(0, description="Restarts that count against failurePolicy.maxRestarts.")
    disruption_count: Count = Field(0, description="Restarts that count against failurePolicy.maxDisruptions.")
    completion_time: Time | None = Field(None, description="When the job succeeded or failed.")
    completed: CompletedStatus | None = Field(None, description="Work that is done and will not be done again.")
    backoff: BackoffStatus | None = Field(None, description="The pause before the next attempt, and what it comes of.")
    last_failure: LastFailure | None = Field(None, description="What ended the last attempt that failed.")


class Metric(StatusModel):
    """A figure by name."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="Name of the figure.")
    value: Annotated[str, Field(max_length=64)] = Field(description="Its value; text, so that no digit is lost.")


Metrics = Annotated[list[Metric], Field(max_length=64), MapBy("name")]


class Progress(StatusModel):
    """Progress of the job, as its rank 0 last reported it."""

    percent: Annotated[int, Field(ge=0, le=100)] | None = Field(None, description="Percent done.")
    step: Count | None = Field(None, description="Optimizer steps done.")
    total_steps: Count | None = Field(None, description="Optimizer steps of the whole run.")
    estimated_remaining_seconds: Count | None = Field(None, description="Time left at the present speed.")
    metrics: Metrics = Field(default_factory=list, description="The newest figures.")
    last_updated_time: Time | None = Field(None, description="When rank 0 last reported.")


class ArtifactStatus(StatusModel):
    """The trained model: where it lies, its digest and its held-out figures."""

    uri: Annotated[str, Field(max_length=1024)] = Field(description="The artifact's folder.")
    digest: Digest = Field(description="sha256 of its artifact.json, which names every file with its own sha256.")
    metrics: Metrics = Field(default_factory=list, description="Figures on held-out data.")
    language: LanguageFacts | None = Field(None, description="Of a language model or adapter.")


class PinnedSource(StatusModel):
    """The artifact that a job begins with, or the job that is to make it."""

    uri: Annotated[str, Field(max_length=1024)] = Field(
        "", description="Where it lies; empty while its job is waited for."
    )
    digest: Annotated[str, Field(max_length=71)] = Field("", description="sha256 of its artifact.json or .onnx file.")
    source: ShortText = Field("", description="The job it is taken from, as Kind/name.")
    uid: ShortText = Field("", description="Of that job while it is waited for: another one of its name is not it.")
    language: LanguageFacts | None = Field(None, description="Of a language model, as that job says.")
