"""Success policies: which pods must have succeeded for the job to have. Pure."""

from collections.abc import Sequence

from slipway.api.training.elastic import SuccessPolicy
from slipway.reconcile.pods.observed import PodState


def succeeded(policy: SuccessPolicy, pods: Sequence[PodState], size: int, *, elastic: bool = False) -> bool:
    """Tell whether the job has succeeded, by its `pods` of the current attempt, of a gang of `size`.

    An elastic node that never found a place (Pending) has nothing left to do once all others have succeeded.
    """
    good = [pod for pod in pods if pod.phase == "Succeeded"]
    if policy is SuccessPolicy.ANY:
        return bool(good)
    if policy is SuccessPolicy.RANK0:
        return any(pod.index == 0 for pod in good)
    if elastic:
        return bool(good) and all(pod.phase in {"Succeeded", "Pending"} for pod in pods)
    return len(pods) >= size and len(good) == len(pods)
