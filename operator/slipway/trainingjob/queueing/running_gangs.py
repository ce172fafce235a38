"""Running gangs that others may take the place of. Pure; asked by admission.py when one that preempts finds no room.

What a gang holds is known until one of its pods changes: thousands of pods are not walked for each decision.
"""

from collections.abc import Callable, Iterable
from functools import partial

from slipway.api.common.scheduling import GangScheduler
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.gang import lifecycle
from slipway.queueing.occupancy import add
from slipway.queueing.preemption import Running, RunningGangs
from slipway.queueing.resources import PLACE, REQUESTS
from slipway.reconcile.labels import ATTEMPT
from slipway.reconcile.pods.members import members
from slipway.runtime.caching.store import Store
from slipway.trainingjob.job import TRAINING_JOBS
from slipway.trainingjob.queueing.claim import Claim
from slipway.trainingjob.queueing.standing import Standing

Shares = dict[str, dict[str, int]]
"""By node: what pods have of it."""


def running_gangs(
    jobs: Iterable[Standing],
    pods: Store,
    claim_of: Callable[[Standing], Claim | None],
    priority_of: Callable[[TrainingJobSpec], tuple[int, bool]],
) -> RunningGangs:
    """Gangs that may have to give way, and resources of the operator's pods that are going."""
    running: list[Running] = []
    leaving: Shares = {}
    for one in jobs:
        held, going = one.remembered("held", pods.moved(one.identity), partial(_held, one, pods))
        for node, amounts in going.items():
            add(leaving.setdefault(node, {}), amounts)
        claim = claim_of(one) if held and _may_give_way(one) else None
        if claim is not None and claim.spec.scheduling.gang is GangScheduler.SLIPWAY:
            since = (one.job.get("status") or {}).get("attemptTime") or ""
            running.append(Running(one.key, priority_of(claim.spec)[0], since, held))
    return RunningGangs(running, leaving)


def _held(one: Standing, pods: Store) -> tuple[Shares, Shares]:
    """Shares of the attempt's pods, and those of pods that are going."""
    held: Shares = {}
    going: Shares = {}
    for pod in members(pods, one.job, TRAINING_JOBS):
        node, metadata = pod["spec"][PLACE], pod["metadata"]
        if not node or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        leaves = metadata.get("deletionTimestamp") or int(metadata["labels"][ATTEMPT]) < one.run.attempt
        add((going if leaves else held).setdefault(node, {}), pod["spec"].get(REQUESTS) or {})
    return held, going


def _may_give_way(one: Standing) -> bool:
    policy = (one.job.get("spec") or {}).get("runPolicy") or {}
    stays = one.run.finished or policy.get("suspend") or lifecycle.left_alone(one.job)
    return one.run.attempt_time is not None and not stays
