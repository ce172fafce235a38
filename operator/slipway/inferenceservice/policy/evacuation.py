"""Rule for a service of one replica whose node is drained: a replacement serves before the pod goes. Pure.

Its PodDisruptionBudget refuses the eviction of the only pod that serves, and lets it pass by itself once there are two.
So all that is left to do is to start the second one, beside the first, until the first is gone; and to give way where
no second one comes, since a drain must not hang for ever.
"""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

# For a replacement to find a node or to be let in by a quota: a cluster's autoscaler takes some minutes for a node.
UNPLACED_SECONDS = 300.0


class Phase(StrEnum):
    """Stand of the replacement. `OVERDUE`: the budget gives way to the drain."""

    STARTING = "Starting"
    READY = "Ready"
    OVERDUE = "Overdue"


@dataclass(frozen=True)
class Replica:
    """A pod that has not ended and is not being deleted. `node`: empty while it has none."""

    revision: str
    node: str
    ready: bool


@dataclass(frozen=True)
class Evacuation:
    """Answer of the rule: the revision that has one pod more, its replacement's stand, seconds until that may change.

    `nodes`: those that are being emptied. All of it empty where nothing has to be done.
    """

    revision: str = ""
    phase: Phase | None = None
    wait: float | None = None
    nodes: tuple[str, ...] = ()


NOTHING = Evacuation()


def evacuate(
    replicas: Iterable[Replica],
    sizes: Mapping[str, int],
    leaving: Set[str],
    surged: Collection[str],
    waited: float,
    patience: float,
) -> Evacuation:
    """Decide for a service that shall have one replica.

    `sizes`: pods wanted of each revision, without the one more; `leaving`: nodes that are being emptied; `surged`:
    revisions that have one pod more now; `waited`: seconds for which no replacement has served; `patience`: seconds
    that one may take to serve.
    """
    there = [one for one in replicas if sizes.get(one.revision, 0) > 0]
    going = [one for one in there if one.node in leaving]
    serves = any(one.ready for one in there if one.node and one.node not in leaving)
    # One that was surged stays so until its old pod is gone: else Kubernetes could take the new one.
    kept = [one for one in going if one.revision in surged]
    if not going or (serves and not kept):
        return NOTHING
    first = min(kept or going, key=lambda one: (not one.ready, one.revision))
    nodes = tuple(sorted({one.node for one in going}))
    if serves:
        return Evacuation(first.revision, Phase.READY, None, nodes)
    placed = any(one.revision == first.revision and one.node and one.node not in leaving for one in there)
    left = (patience if placed else min(patience, UNPLACED_SECONDS)) - waited
    if left <= 0:
        return Evacuation(first.revision, Phase.OVERDUE, None, nodes)
    return Evacuation(first.revision, Phase.STARTING, left, nodes)
