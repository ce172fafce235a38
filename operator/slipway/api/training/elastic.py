"""Settings of jobs that may change while they run: their size, which pods start anew, and whose success counts."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.types import FailurePolicy, PositiveSeconds

MAX_NODES = 1000


class ElasticPolicy(Model):
    """Range of the number of nodes: a lost one shrinks the job, a free one grows it again."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minNodes <= self.maxNodes",
            "minNodes is above maxNodes: exchange them",
            lambda policy: policy.min_nodes <= policy.max_nodes,
        ),
    )
    min_nodes: Annotated[int, Field(ge=1, le=MAX_NODES)] = Field(
        1, description="With fewer running nodes the job does not train."
    )
    max_nodes: Annotated[int, Field(ge=1, le=MAX_NODES)] = Field(description="The most that numNodes may be raised to.")
    max_restarts: Annotated[int, Field(ge=0, le=10000)] = Field(
        100, description="How often a node may start its processes again after its peers changed or failed."
    )


class RestartScope(StrEnum):
    """Scope of a restart after a failure."""

    JOB = "Job"
    POD = "Pod"


class SuccessPolicy(StrEnum):
    """Choice of the pods whose success makes the job succeed."""

    ALL = "All"
    RANK0 = "Rank0"
    ANY = "Any"


class TrainingFailurePolicy(FailurePolicy):
    """Response of a training job to a failed pod, or to a lack of progress."""

    restart_scope: RestartScope | None = Field(
        None, description="Job: all pods start anew. Pod: only the lost one, for elastic jobs, whose default it is."
    )
    progress_deadline_seconds: PositiveSeconds | None = Field(
        None, description="No progress reported for so long while all pods run is a failure: the job hangs."
    )


ELASTIC_RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.elasticPolicy) || self.elasticPolicy.minNodes > self.elasticPolicy.maxNodes"
        " || (self.elasticPolicy.minNodes <= self.numNodes && self.numNodes <= self.elasticPolicy.maxNodes)",
        "numNodes is outside elasticPolicy: choose it from minNodes to maxNodes",
        lambda spec: (
            spec.elastic_policy is None
            or spec.elastic_policy.min_nodes <= spec.num_nodes <= spec.elastic_policy.max_nodes
        ),
    ),
    Rule(
        "!has(self.elasticPolicy) || self.launcher in ['torchrun', 'horovodrun', 'ray'] || self.launcher.contains('/')",
        "elasticPolicy is for launcher torchrun, horovodrun or ray, whose processes can meet anew: remove it",
        lambda spec: (
            spec.elastic_policy is None or spec.launcher in ("torchrun", "horovodrun", "ray") or "/" in spec.launcher
        ),
    ),
    Rule(
        "!has(self.failurePolicy) || !has(self.failurePolicy.restartScope)"
        " || self.failurePolicy.restartScope != 'Pod' || has(self.elasticPolicy)",
        "restartScope Pod is for elastic jobs, whose other nodes go on meanwhile: set elasticPolicy",
        lambda spec: spec.failure_policy.restart_scope != RestartScope.POD or spec.elastic_policy is not None,
    ),
)
