"""TrainingJob's status: what the operator knows of the job, and nobody else writes."""

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
from slipway.api.common.types import Condition, Count, Digest, Text, Time
from slipway.api.training.runtime_ref import RuntimeStatus
from slipway.api.training.strategy import StrategyStatus


class ElasticStatus(StatusModel):
    """Nodes of an elastic job. A node that was lost is replaced by one of a new number."""

    indices: Annotated[list[Count], Field(max_length=1000)] = Field(
        default_factory=list, description="Numbers of its nodes."
    )
    creating: Annotated[list[Count], Field(max_length=1000)] = Field(
        default_factory=list, description="Those whose pods have not been asked for yet."
    )
    next: Count = Field(0, description="The number of the next new node.")


class QueueStatus(StatusModel):
    """Place in the line of a gang that has not been started yet, and what it lacks."""

    position: Count = Field(description="1 is the next to start.")
    length: Count = Field(description="How many jobs wait.")
    missing: Text = Field(description="What the cluster lacks for it.")


class TrainingJobStatus(RunStatus):
    """State of the job as the operator knows it. The operator is the only writer."""

    conditions: Annotated[list[Condition], Field(max_length=16), MapBy("type")] = Field(
        default_factory=list, description="Ready, Reconciling, Stalled, Succeeded, Created, Running, Restarting, ..."
    )
    spec_digest: Digest | None = Field(None, description="Of the spec that the current attempt's pods were made from.")
    attempt: Count = Field(0, description="Number of the current gang of pods; it is in their names.")
    start_time: Time | None = Field(None, description="When the first pods were asked for.")
    queued_time: Time | None = Field(None, description="Since when the current attempt waits, or waited, for room.")
    attempt_time: Time | None = Field(None, description="When the current attempt's pods were asked for.")
    running_time: Time | None = Field(None, description="When all pods of the current attempt were running.")
    active_seconds: Count = Field(0, description="Running time of the attempts before, for activeDeadlineSeconds.")
    nodes: Count | None = Field(None, description="Pods of the current attempt that are there.")
    selector: Annotated[str, Field(max_length=512)] | None = Field(None, description="Selects the job's pods.")
    runtime: RuntimeStatus | None = Field(None, description="The runtime that the job goes by.")
    model: PinnedSource | None = Field(None, description="The model that is tuned further, with recipe.model.from.")
    strategy: StrategyStatus | None = Field(None, description="How the model's state is spread, and why so.")
    elastic: ElasticStatus | None = Field(None, description="The nodes of an elastic job.")
    queue: QueueStatus | None = Field(None, description="Its place among the jobs that wait for room.")
    replica_statuses: ReplicaStatus | None = Field(None, description="Pods of the current attempt by state.")
    progress: Progress | None = Field(None, description="How far the training is.")
    artifact: ArtifactStatus | None = Field(None, description="The trained model.")
