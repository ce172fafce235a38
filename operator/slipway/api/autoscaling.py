"""How many replicas follow the load: part of an InferenceService's spec."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.base import Model, Rule


class ScaleMetric(StrEnum):
    """What is held near the target."""

    CONCURRENCY = "Concurrency"
    QUEUE_DEPTH = "QueueDepth"
    CPU = "CPU"


class AutoScaling(Model):
    """The load decides between two bounds. spec.replicas is then where it starts; a change of it counts at once."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be above maxReplicas",
            lambda scaling: scaling.min_replicas <= scaling.max_replicas,
        ),
    )
    min_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="Never fewer while replicas is not 0.")
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(description="Never more.")
    scale_metric: ScaleMetric = Field(
        ScaleMetric.CONCURRENCY,
        description="Concurrency: requests in a replica, averaged over time. QueueDepth: those of them that wait. Both"
        " are read from the pods. CPU: percent of the request, by a HorizontalPodAutoscaler.",
    )
    scale_target: Annotated[int, Field(ge=1, le=100000)] = Field(description="For each replica, in the metric's unit.")
    scale_down_stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        300, description="Fewer replicas only when that would have been enough for so long."
    )
