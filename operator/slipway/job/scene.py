"""One look at a job with a gang of pods: what the rules of lifecycle.py and the status are worked out from. Pure."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from slipway.job.gang import Gang
from slipway.job.observed import Obstacle, PodState
from slipway.job.status import Draft


@dataclass(frozen=True)
class Scene:
    """The gang, its pods of all attempts, those of deleted jobs of the same name, and the status being drafted."""

    gang: Gang
    pods: tuple[PodState, ...]
    predecessors: tuple[PodState, ...]
    draft: Draft
    now: datetime

    @property
    def current(self) -> list[PodState]:
        """Pods of the current attempt by index."""
        return sorted((pod for pod in self.pods if pod.attempt == self.draft.run.attempt), key=lambda pod: pod.index)

    @property
    def grace(self) -> int:
        """How long a pod may outlast its deletion."""
        return self.gang.failure_policy.node_lost_grace_seconds

    @property
    def size(self) -> int:
        """How many pods the gang has. A later edit of the spec does not change the gang that is there."""
        made = (self.draft.wire.get("replicaStatuses") or {}).get("desired")
        return made if self.draft.run.attempt_time is not None and made else self.gang.size

    @cached_property
    def digest(self) -> str:
        """Of the spec as it is now."""
        return self.gang.digest

    @property
    def changed(self) -> bool:
        """Whether the spec is not the one that the gang was made from: servers without CEL let it be edited."""
        return self.draft.wire.get("specDigest") not in (None, self.digest)

    @property
    def missing_names(self) -> list[str]:
        """Pods of the current attempt that are not there."""
        there = {pod.index for pod in self.current}
        return [self.gang.pod_name(index, self.draft.run.attempt) for index in range(self.size) if index not in there]

    @property
    def all_started(self) -> bool:
        """Whether each pod runs, or has already run well."""
        pods = self.current
        return len(pods) >= self.size and all(pod.phase in {"Running", "Succeeded"} for pod in pods)

    @property
    def obstacle(self) -> Obstacle | None:
        """What keeps the first of the pods that can't run from running; a pause between two tries says the least."""
        found = [pod.obstacle for pod in self.current if pod.obstacle]
        return min(found, key=lambda obstacle: obstacle.again, default=None)
