"""One look at a job with a gang of pods: what the rules of lifecycle.py and the status are worked out from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

from slipway.api.common.types import FailurePolicy, Reason, RunPolicy
from slipway.api.training.elastic import SuccessPolicy
from slipway.gang import completed_nodes
from slipway.gang.policy import backoff, hang
from slipway.gang.policy.elastic import Nodes
from slipway.reconcile.plan import Delete, Keep, Plan, Write
from slipway.reconcile.pods.observed import Failure, Obstacle, PodState
from slipway.reconcile.status import StatusDraft
from slipway.runtime.conditions import parse_time


class Gang(Protocol):
    """Pods that live and die together. Pure."""

    @property
    def final_exit_codes(self) -> Mapping[int, Reason]:
        """Exit codes that mean the same at every try, each with its reason: no restart, unless a rule asks for one."""

    @property
    def uid(self) -> str:
        """UID of the object that owns the pods."""

    @property
    def run_policy(self) -> RunPolicy:
        """The spec's run policy."""

    @property
    def failure_policy(self) -> FailurePolicy:
        """The spec's failure policy."""

    @property
    def size(self) -> int:
        """Number of pods that the spec asks for now."""

    @property
    def digest(self) -> str:
        """sha256 of all that the pods are made from; editing the run and failure policies leaves it as it is."""

    def pod_name(self, index: int, attempt: int) -> str:
        """The name of one pod."""

    def writes(self, missing: Sequence[int], attempt: int, *, first: bool) -> tuple[Write, ...]:
        """The pods of these indices, and before the `first` of an attempt what they lean on."""

    def tells(self, words: str) -> bool:
        """Tell whether a pod's last words must be kept after its success: they say what was made, or what comes now."""

    def keeps(self, attempt: int) -> tuple[Keep, ...]:
        """Objects that the pods of an attempt lean on while they run."""

    def leaves(self, attempt: int) -> tuple[Delete, ...]:
        """Objects of an attempt that is over, which nothing needs any more."""

    def succeeded(self, state: "GangState") -> Plan:
        """Plan for an attempt all of whose pods have succeeded."""

    def failed(self, state: "GangState", failure: Failure) -> Plan | None:
        """Plan for a failure that the kind itself knows what to do about; None leaves it to the failure policy."""


@dataclass(frozen=True)
class Hold:
    """Reason why a gang may not be created yet: its place in the line of those that wait, and what the cluster lacks.

    `short`: a quota of the namespace; `never`: one that cannot be enough, whoever ends. `reason`: of a job that
    is in no line, since what it leans on is missing.
    """

    position: int
    length: int
    missing: str
    short: bool = False
    never: bool = False
    reason: Reason = Reason.QUEUED


@dataclass(frozen=True)
class Rules:
    """Settings that only some kinds and some jobs have, beside the policies of the gang.

    `least`: pods with which an elastic job can train; None where all are needed. `replaces`: whether a lost node is
    replaced alone. `listening`: since when reports of progress can have come in. `schedule_timeout`: how long all
    pods may take to find a node, where the operator itself lets gangs in.
    """

    success: SuccessPolicy = SuccessPolicy.ALL
    least: int | None = None
    replaces: bool = False
    progress_deadline: int | None = None
    listening: datetime | None = None
    schedule_timeout: int | None = None


@dataclass(frozen=True)
class GangState:
    """The gang, its pods of all attempts, those of deleted jobs of the same name, and the status being drafted.

    `gives_way`: the gang of higher priority that takes its place. `deleted_pods`: pods of it that are gone by
    now, as they were last seen.
    """

    gang: Gang
    pods: tuple[PodState, ...]
    predecessors: tuple[PodState, ...]
    draft: StatusDraft
    now: datetime
    rules: Rules = field(default_factory=Rules)
    hold: Hold | None = None
    gives_way: str = ""
    deleted_pods: tuple[PodState, ...] = ()

    @property
    def nodes(self) -> Nodes | None:
        """Nodes of an elastic job; None for other jobs."""
        return Nodes.read(self.draft.fields["elastic"]) if "elastic" in self.draft.fields else None

    @property
    def indices(self) -> tuple[int, ...]:
        """Numbers of the nodes that the gang has."""
        return self.nodes.indices if self.nodes is not None else tuple(range(self.size))

    @property
    def current(self) -> list[PodState]:
        """Pods of the current attempt by index: those that the gang has, under the names that it gives them. One that
        is gone stands there still if it had succeeded.
        """
        attempt, indices = self.draft.run.attempt, set(self.indices)
        mine = [pod for pod in self.pods if pod.attempt == attempt and pod.index in indices]
        mine = [pod for pod in mine if pod.name == self.gang.pod_name(pod.index, attempt)]
        gone = self.completed - {pod.index for pod in mine}
        return sorted([*mine, *(completed_nodes.stand_in(self, index) for index in gone)], key=lambda pod: pod.index)

    @property
    def completed(self) -> frozenset[int]:
        """Nodes that have succeeded in the current attempt, as far as the status knows; their pods may be gone."""
        told = self.draft.fields.get("completed") or {}
        return completed_nodes.read_indexes(told.get("indexes") or "", self.indices) if told else frozenset()

    @property
    def dropped(self) -> list[PodState]:
        """Pods of the current attempt whose node is not the job's any more."""
        kept = {pod.uid for pod in self.current}
        return [pod for pod in self.pods if pod.attempt == self.draft.run.attempt and pod.uid not in kept]

    @property
    def grace(self) -> int:
        """Seconds that a pod may outlast its grace period."""
        return self.gang.failure_policy.node_lost_grace_seconds

    @property
    def size(self) -> int:
        """Number of pods of the gang. A later edit of the spec does not change the gang that is there."""
        if self.nodes is not None:
            return len(self.nodes.indices)
        made = (self.draft.fields.get("replicaStatuses") or {}).get("desired")
        return made if self.draft.run.attempt_time is not None and made else self.gang.size

    @cached_property
    def digest(self) -> str:
        """Digest of the spec as it is now."""
        return self.gang.digest

    @property
    def changed(self) -> bool:
        """Tell whether the spec is not the one that the gang was made from: servers without CEL let it be edited."""
        return self.draft.fields.get("specDigest") not in (None, self.digest)

    @property
    def missing_names(self) -> list[str]:
        """Names of the current attempt's pods that are not there, but for nodes that are still to join."""
        there = {pod.index for pod in self.current}
        coming = self.nodes.creating if self.nodes is not None else ()
        attempt = self.draft.run.attempt
        return [self.gang.pod_name(i, attempt) for i in self.indices if i not in there and i not in coming]

    @property
    def started(self) -> int:
        """Number of pods that run, or have already run well."""
        return sum(pod.phase in {"Running", "Succeeded"} for pod in self.current)

    @property
    def all_started(self) -> bool:
        """Tell whether each pod runs, or has already run well; of an elastic job's, as many as it needs."""
        return self.started >= (self.size if self.rules.least is None else self.rules.least)

    @property
    def pause(self) -> float:
        """Seconds until the next attempt's pods may be made, where none has been."""
        told = self.draft.fields.get("backoff") or {}
        if self.draft.run.attempt_time is not None or (self.current and not told.get("refusals")):
            return 0.0
        return backoff.seconds_left(self.gang.failure_policy.backoff, told, self.now)

    @property
    def stranded_seconds_left(self) -> float | None:
        """Seconds until pods that found their nodes are taken back because others of the gang have none."""
        asked, limit = self.draft.run.attempt_time, self.rules.schedule_timeout
        if asked is None or limit is None or self.draft.run.running_time is not None:
            return None
        placed = sum(bool(pod.node) for pod in self.current)
        if placed >= (self.size if self.rules.least is None else self.rules.least):
            return None
        return limit - (self.now - asked).total_seconds()

    @property
    def hang_seconds_left(self) -> float | None:
        """Seconds until pods that report no progress are taken for hanging."""
        told = (self.draft.fields.get("progress") or {}).get("lastUpdatedTime")
        reported = parse_time(told) if told else None
        return hang.seconds_left(self.rules.progress_deadline, self.draft.run, reported, self.rules.listening, self.now)

    @property
    def obstacle(self) -> Obstacle | None:
        """Obstacle of the first of the pods that can't run; a pause between two tries says the least."""
        found = [pod.obstacle for pod in self.current if pod.obstacle]
        return min(found, key=lambda obstacle: obstacle.again, default=None)
