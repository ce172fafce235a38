"""Scheduling of the pods: gangs, tolerations and node affinity; the latter two with Kubernetes' own field names."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.types import MAX_INT32, LabelKey, LabelValue, ObjectName


class Toleration(Model):
    """Lets the pods run on nodes with a taint."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "operator Exists takes no value: remove it, or use operator Equal",
            lambda toleration: toleration.operator != "Exists" or not toleration.value,
        ),
        Rule(
            "has(self.key) || self.operator == 'Exists'",
            "a toleration without key tolerates every taint and needs operator Exists: set key or operator",
            lambda toleration: toleration.key is not None or toleration.operator == "Exists",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds needs effect NoExecute: set effect or remove tolerationSeconds",
            lambda toleration: toleration.toleration_seconds is None or toleration.effect == "NoExecute",
        ),
    )
    key: LabelKey | None = Field(None, description="The taint's key; every taint when unset.")
    operator: Literal["Exists", "Equal"] = Field("Equal", description="How the taint's value is compared.")
    value: LabelValue | None = Field(None, description="The taint's value, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; all effects when unset."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        None, description="How long a NoExecute taint is tolerated; for good when unset."
    )


class SelectorOperator(StrEnum):
    """Operator of a comparison with a node's label."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


def _values_fit(requirement: "NodeRequirement") -> bool:
    values = requirement.values
    if requirement.operator in {SelectorOperator.IN, SelectorOperator.NOT_IN}:
        return bool(values)
    if requirement.operator in {SelectorOperator.EXISTS, SelectorOperator.DOES_NOT_EXIST}:
        return not values
    return len(values) == 1 and re.fullmatch("[0-9]+", values[0]) is not None


class NodeRequirement(Model):
    """One comparison with a node's label."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0"
            " : self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0"
            " : has(self.values) && size(self.values) == 1 && self.values[0].matches('^[0-9]+$')",
            "In and NotIn need values, Exists and DoesNotExist take none, Gt and Lt take one whole number",
            _values_fit,
        ),
    )
    key: LabelKey = Field(description="The label's key.")
    operator: SelectorOperator = Field(description="How the label is compared.")
    values: Annotated[list[LabelValue], Field(max_length=64)] = Field(
        default_factory=list, description="What it is compared with."
    )


class NodeTerm(Model):
    """Term of a node selector: all of its comparisons must hold."""

    match_expressions: Annotated[list[NodeRequirement], Field(min_length=1, max_length=16)] = Field(
        description="Comparisons that must all hold."
    )


class RequiredNodes(Model):
    """Terms of a node selector, any of which must hold."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=16)] = Field(
        description="Terms of which one must hold."
    )


class PreferredNodes(Model):
    """A preference and its weight."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(description="Weight among the preferences.")
    preference: NodeTerm = Field(description="What is preferred.")


class NodeAffinity(Model):
    """Node affinity: the nodes that the pods must or should run on."""

    required_during_scheduling_ignored_during_execution: RequiredNodes | None = Field(
        None, description="Nodes that the pods must run on."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodes], Field(max_length=16)] | None
    ) = Field(None, description="Nodes that the pods should run on.")


class Affinity(Model):
    """The part of Kubernetes' affinity that a gang of equal pods needs."""

    node_affinity: NodeAffinity | None = Field(None, description="Which nodes the pods must or should run on.")


class GangScheduler(StrEnum):
    """Scheduler that finds room for all pods of a gang, or starts none."""

    SLIPWAY = "Slipway"
    KUEUE = "Kueue"
    VOLCANO = "Volcano"
    COSCHEDULING = "Coscheduling"
    NONE = "None"


class TopologySpread(Model):
    """Even spread of the pods over zones, racks or nodes."""

    topology_key: LabelKey = Field(description="The nodes' label whose values are the domains.")
    max_skew: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="How many pods more one domain may have than another."
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        "ScheduleAnyway",
        description="DoNotSchedule: the gang waits until all its pods fit so. Several labels must lie within each other"
        " (nodes in zones) for that; of others the scheduler may leave a pod waiting.",
    )

    @property
    def strict(self) -> bool:
        """Tell whether pods wait rather than be spread worse."""
        return self.when_unsatisfiable == "DoNotSchedule"


class ScaleUp(StrEnum):
    """Policy on creating the pods of a gang that lacks room, for an autoscaler to see them."""

    AUTO = "Auto"
    PODS = "Pods"
    NEVER = "Never"


class Preemption(StrEnum):
    """Policy on stopping running gangs of lower priority to make room."""

    NEVER = "Never"
    PRIORITY_CLASS = "PriorityClass"


class Scheduling(Model):
    """Scheduling of the gang: who starts it, when, and before which others."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.queue) || self.gang in ['Kueue', 'Volcano']",
            "queue is Kueue's or Volcano's: set gang to one of them, or remove it",
            lambda scheduling: (
                scheduling.queue is None or scheduling.gang in (GangScheduler.KUEUE, GangScheduler.VOLCANO)
            ),
        ),
        Rule(
            "self.gang != 'Kueue' || has(self.queue)",
            "Kueue admits by queues: set queue to a LocalQueue of the namespace",
            lambda scheduling: scheduling.gang is not GangScheduler.KUEUE or scheduling.queue is not None,
        ),
        Rule(
            "self.priority == 0 || self.gang == 'Slipway'",
            "priority orders this operator's own line: set pod.priorityClassName instead, or gang to Slipway",
            lambda scheduling: scheduling.priority == 0 or scheduling.gang is GangScheduler.SLIPWAY,
        ),
        Rule(
            "self.gang == 'Slipway' || (self.scaleUp == 'Auto' && self.preemption == 'Never')",
            "scaleUp and preemption are about this operator's own line: remove them, or set gang to Slipway",
            lambda scheduling: (
                scheduling.gang is GangScheduler.SLIPWAY
                or (scheduling.scale_up is ScaleUp.AUTO and scheduling.preemption is Preemption.NEVER)
            ),
        ),
    )
    gang: GangScheduler = Field(
        GangScheduler.SLIPWAY,
        description="Who waits for room for all pods: this operator, another project, or nobody (None).",
    )
    priority: Annotated[int, Field(ge=-1000000000, le=1000000000)] = Field(
        0, description="Jobs that wait are started from the highest to the lowest, the oldest first."
    )
    preemption: Preemption = Field(
        Preemption.NEVER,
        description="PriorityClass: where there is no room, whole gangs of a lower pod.priorityClassName give way, if"
        " the class's preemptionPolicy allows that. They get their grace period, wait in the line again, and no restart"
        " is counted.",
    )
    scale_up: ScaleUp = Field(
        ScaleUp.AUTO,
        description="Whether a gang that lacks room is created for an autoscaler to see its pods, one gang of a"
        " namespace at a time. Auto: where the cluster shows that it has one (Karpenter, Cluster Autoscaler).",
    )
    schedule_timeout_seconds: Annotated[int, Field(ge=10, le=604800)] = Field(
        900,
        description="Pods that were created and have not all found a node for so long are taken back, and the gang"
        " waits in the line again; no restart is counted. Only with gang Slipway.",
    )
    queue: ObjectName | None = Field(None, description="Kueue's LocalQueue or Volcano's queue.")
    topology_spread: Annotated[list[TopologySpread], Field(max_length=4)] = Field(
        default_factory=list, description="How evenly the pods are spread over zones, racks or nodes."
    )
