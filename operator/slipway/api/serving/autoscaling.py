"""Autoscaling of replicas by load: part of an InferenceService's spec."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule

# Knative's and KEDA's defaults are a minute and five; loading a model costs more than keeping it for a while.
RETENTION_SECONDS = 300


class ScaleMetric(StrEnum):
    """Metric that autoscaling holds near its target."""

    CONCURRENCY = "Concurrency"
    QUEUE_DEPTH = "QueueDepth"
    CPU = "CPU"
    TOKENS_IN_FLIGHT = "TokensInFlight"
    KV_CACHE_USAGE = "KVCacheUsage"


# Figures that only a server of a language model has.
OF_GENERATION = frozenset({ScaleMetric.TOKENS_IN_FLIGHT, ScaleMetric.KV_CACHE_USAGE})


class AutoScaling(Model):
    """Autoscaling between two bounds. spec.replicas is then where it starts; a change of it counts at once."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be above maxReplicas",
            lambda scaling: scaling.min_replicas <= scaling.max_replicas,
        ),
        Rule(
            "self.minReplicas > 0 || self.scaleMetric != 'CPU'",
            "minReplicas 0 needs another scaleMetric than CPU: a HorizontalPodAutoscaler keeps one replica",
            lambda scaling: scaling.min_replicas > 0 or scaling.scale_metric is not ScaleMetric.CPU,
        ),
        Rule(
            "self.minReplicas == 0 || !has(self.scaleToZeroPodRetentionSeconds)",
            "scaleToZeroPodRetentionSeconds has no effect without minReplicas 0: set that, or remove it",
            lambda scaling: scaling.min_replicas == 0 or scaling.scale_to_zero_pod_retention_seconds is None,
        ),
        Rule(
            "self.scaleMetric != 'KVCacheUsage' || self.scaleTarget <= 100",
            "scaleMetric KVCacheUsage is percent of the cache: scaleTarget is at most 100",
            lambda scaling: scaling.scale_metric is not ScaleMetric.KV_CACHE_USAGE or scaling.scale_target <= 100,
        ),
    )
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        1,
        description="Never fewer while replicas is not 0. With 0 the last pod goes when nobody asks for the service; an"
        " activator in its place holds the next requests until a pod serves again.",
    )
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(description="Never more.")
    scale_metric: ScaleMetric = Field(
        ScaleMetric.CONCURRENCY,
        description="Concurrency: requests in a replica, averaged over time. QueueDepth: those of them that wait. Both"
        " are read from the pods. CPU: percent of the request, by a HorizontalPodAutoscaler. Of a language model also"
        " TokensInFlight: those of answers under way and of prompts that wait; KVCacheUsage: percent of the cache.",
    )
    scale_target: Annotated[int, Field(ge=1, le=100000)] = Field(description="For each replica, in the metric's unit.")
    scale_down_stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        300, description="Fewer replicas only when that would have been enough for so long."
    )
    scale_to_zero_pod_retention_seconds: Annotated[int, Field(ge=5, le=86400)] | None = Field(
        None, description="With minReplicas 0: how long the last pod stays after the last request; 300 when unset."
    )

    @property
    def to_zero(self) -> bool:
        """Tell whether the last replica may go, too."""
        return self.min_replicas == 0

    @property
    def retention_seconds(self) -> int:
        """Seconds without a request after which the last replica goes."""
        return self.scale_to_zero_pod_retention_seconds or RETENTION_SECONDS
