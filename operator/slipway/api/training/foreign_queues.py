"""Marks by which other projects take pods into lines of their own: pods in two lines wait for each other."""

from typing import Any

from slipway.api.common.base import Rule
from slipway.api.common.scheduling import GangScheduler

# By what the operator itself would put on the pods, were they that project's.
_LABELS = {
    GangScheduler.KUEUE: ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/pod-group-name"),
    GangScheduler.COSCHEDULING: ("scheduling.x-k8s.io/pod-group",),
}
_ANNOTATIONS = {GangScheduler.VOLCANO: ("scheduling.k8s.io/group-name",)}


def _rule(field: str, gang: GangScheduler, keys: tuple[str, ...]) -> Rule:
    named = ", ".join(f"'{key}'" for key in keys)

    def holds(spec: Any) -> bool:
        return spec.scheduling.gang in (gang, GangScheduler.NONE) or not any(
            key in getattr(spec.pod, field) for key in keys
        )

    return Rule(
        f"self.scheduling.gang in ['{gang}', 'None'] || !has(self.pod.{field})"
        f" || !self.pod.{field}.exists(k, k in [{named}])",
        f"pod.{field} put the pods into a line of {gang}'s beside the one of scheduling.gang: set scheduling.gang to "
        f"{gang}, which sets them itself, to None, or remove them",
        holds,
    )


ONE_LINE = (
    *(_rule("labels", gang, keys) for gang, keys in _LABELS.items()),
    *(_rule("annotations", gang, keys) for gang, keys in _ANNOTATIONS.items()),
)
