"""Status of a SearchJob: its trials, from which the study is rebuilt at each look, and the best of them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.common.base import MapBy, StatusModel
from slipway.api.common.job_status import ArtifactStatus, Metrics, Progress
from slipway.api.common.types import Condition, Count, Digest, ShortText, Time
from slipway.api.search.space import MOST_PARAMETERS

MOST_TRIALS = 300
# A server compares whole numbers with the bounds as 64 bits hold them: a larger bound wraps around.
MOST = 1e18
Figure = Annotated[float, Field(ge=-MOST, le=MOST)]
Parameters = Annotated[dict[str, Annotated[str, Field(max_length=96)]], Field(max_length=MOST_PARAMETERS)]


class TrialState(StrEnum):
    """State of a trial."""

    MEASURING = "Measuring"
    PENDING = "Pending"
    TRAINING = "Training"
    SUCCEEDED = "Succeeded"
    PRUNED = "Pruned"
    EARLY_STOPPED = "EarlyStopped"
    FAILED = "Failed"


ACTIVE = frozenset({TrialState.MEASURING, TrialState.PENDING, TrialState.TRAINING})


class Report(StatusModel):
    """Figure of the objective in the course of a training."""

    percent: Annotated[int, Field(ge=0, le=100)] = Field(description="How much of the training was done.")
    value: Figure = Field(description="The figure.")


class Trial(StatusModel):
    """One set of parameters, and what became of it. Written down before anything is made of it."""

    number: Count = Field(description="Counts from 0; the TrainingJob is called <search>-<number>.")
    state: TrialState = Field(
        description="Measuring, Pending, Training; Succeeded; Pruned: a figure is above its limit, so it was never "
        "trained; EarlyStopped; Failed."
    )
    parameters: Parameters = Field(default_factory=dict, description="Values by path, as JSON.")
    value: Figure | None = Field(None, description="The objective.")
    figures: Metrics = Field(default_factory=list, description="What was measured before the training.")
    reports: Annotated[list[Report], Field(max_length=9)] = Field(
        default_factory=list, description="The objective in the course of the training, by tenths."
    )
    attempt: Count = Field(0, description="Of the pod that measures it.")
    digest: Digest | None = Field(None, description="Of its artifact.")
    message: ShortText = Field("", description="Why it was pruned, stopped or failed.")


class Best(StatusModel):
    """The best trial so far."""

    number: Count = Field(description="Number of the trial.")
    name: Annotated[str, Field(max_length=63)] = Field(description="Name of its TrainingJob.")
    value: Figure = Field(description="The objective.")
    parameters: Parameters = Field(default_factory=dict, description="Values by path, as JSON.")
    figures: Metrics = Field(default_factory=list, description="What was measured before the training.")


class ParetoPoint(StatusModel):
    """A trial that no other beats in objective and figure at once."""

    number: Count = Field(description="Number of the trial.")
    value: Figure = Field(description="The objective.")
    figure: Figure = Field(description="Of the first constraint.")


class TrialCounts(StatusModel):
    """Numbers of trials by what became of them."""

    active: Count = Field(0, description="Measured, waiting or training.")
    succeeded: Count = Field(0, description="Trained.")
    pruned: Count = Field(0, description="Never trained: a figure is above its limit.")
    early_stopped: Count = Field(0, description="Stopped in training: others were better at that time.")
    failed: Count = Field(0, description="Failed.")


class SearchJobStatus(StatusModel):
    """State of the search as the operator knows it. The operator is the only writer."""

    conditions: Annotated[list[Condition], Field(max_length=16), MapBy("type")] = Field(
        default_factory=list, description="Ready, Reconciling, Stalled, Succeeded, Failed, Suspended, Running"
    )
    observed_generation: Annotated[int, Field(ge=-1, le=2**53)] | None = Field(
        None, description="metadata.generation of the spec that this status is about."
    )
    start_time: Time | None = Field(None, description="When the first trial was chosen.")
    completion_time: Time | None = Field(None, description="When the search succeeded or failed.")
    counts: TrialCounts | None = Field(None, description="Trials by what became of them.")
    trials: Annotated[list[Trial], Field(max_length=MOST_TRIALS), MapBy("number")] = Field(
        default_factory=list, description="All trials."
    )
    best: Best | None = Field(None, description="The best trial so far.")
    pareto: Annotated[list[ParetoPoint], Field(max_length=64)] = Field(
        default_factory=list, description="Objective against the first constraint's figure, the smallest figure first."
    )
    progress: Progress | None = Field(None, description="How many of the trials have ended.")
    artifact: ArtifactStatus | None = Field(None, description="The best trial's model, once the search has ended.")
