"""Root cause of an attempt's end, among pods that failed or are not there any more. Pure.

Asked by lifecycle.py. What is named here is what lastFailure says and what the failure rules judge, so a pod that
only followed another into its end must not be blamed.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from slipway.api.common.types import Reason
from slipway.gang.policy import budget
from slipway.gang.policy.failure import matching_action
from slipway.gang.state import GangState
from slipway.reconcile.pods.observed import Failure, PodState
from slipway.reconcile.status import describe, read_failure

# Signals that come from outside or from the program's own fault. SIGABRT is left out: it is how processes end whose
# peer has gone away.
_CAUSES = frozenset({"SIGKILL", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTERM"})
# Without a pod that was deleted, SIGTERM is somebody's doing; beside one, it is how launchers end the others.
_FOLLOWING = frozenset({"", "SIGABRT", "SIGTERM"})
# Ends are told to the second, by the clocks of several nodes: so far apart, either may have been the first.
_TOGETHER = timedelta(seconds=1)
# A kubelet looks at its containers once a second, and one that is asked to delete a pod before it has seen the end of
# its container forgets how that ended (seen with 1.20).
_SETTLED = timedelta(seconds=3)


def loss(state: GangState) -> Failure | None:
    """A pod of the current attempt that failed, or one that is gone although it was created."""
    missing = state.missing_names if state.draft.run.attempt_time is not None else []
    # How they ended, of those that were seen to go.
    seen = [pod for pod in state.deleted_pods if pod.attempt == state.draft.run.attempt and pod.name in missing]
    failed = first_failure([*state.current, *seen])
    if not missing or (failed is not None and not _follows(state, failed)):
        return failed
    why = [pod for pod in seen if pod.failure is not None and not _follows(state, pod.failure)]
    unseen = [name for name in missing if name not in {pod.name for pod in seen if pod.failure is not None}]
    gone = first_failure(why) or (_gone(unseen[0], state) if unseen else None)
    if failed is None or gone is None:
        return gone or failed
    message = f"{gone.message}; {describe(failed)}, which came of it"
    return replace(gone, message=message, time=failed.time)


def _gone(name: str, state: GangState) -> Failure:
    words = "the pod is gone: somebody deleted it"
    return Failure(name, "", "", None, "", Reason.POD_DELETED, words, state.now, disruption=True)


def seconds_to_settle(state: GangState, failure: Failure) -> float:
    """Seconds to wait for what else the kubelets have to tell, before the gang is replaced.

    With the gang the ends of the others are gone. No wait but where the failure may have come of another's, and if its
    node's clock is not ahead of ours.
    """
    others = [pod for pod in state.current if pod.phase == "Running"]
    age = state.now - failure.time
    if state.nodes is not None or not others or age < timedelta(0) or not _follows(state, failure):
        return 0.0
    return max(0.0, (_SETTLED - age).total_seconds())


def amend(state: GangState) -> None:
    """Correct the failure that was told before, if another one is known by now to have caused it."""
    cause = heard_late(state)
    if cause is not None:
        state.draft.explain_failure(cause)
        budget.recount(state.gang.failure_policy, cause, state.draft)


def heard_late(state: GangState) -> Failure | None:
    """The failure of another pod of that attempt that explains the one that lastFailure tells: its kubelet reported the
    end only after the peers had died of it and the gang was being replaced, or the job had failed; maybe together with
    the pod's removal.
    """
    told, run = state.draft.fields.get("lastFailure"), state.draft.run
    if not told or (told["attempt"] >= run.attempt and not run.finished):
        return None
    consequence = read_failure(told)
    if not _follows(state, consequence):
        return None
    known = (*state.pods, *state.deleted_pods)
    peers = [pod for pod in known if pod.attempt == told["attempt"] and pod.name != consequence.pod]
    return first_failure(pod for pod in peers if pod.failure is not None and _explains(pod.failure, consequence))


def _explains(failure: Failure, consequence: Failure) -> bool:
    """Tell whether a failure may have caused the consequence.

    What happened later may have come of the gang's replacement, and so may whatever has no exit code; but not what the
    cluster says it did to the pod. Nobody hears of a lost node until a minute after its peers have died of it.
    """
    if failure.disruption and failure.reason != Reason.POD_DELETED:
        return True
    if failure.exit_code is None or failure.time > consequence.time + _TOGETHER or failure.reason == Reason.POD_DELETED:
        return False
    return failure.reason != Reason.ERROR or failure.signal in _CAUSES - _FOLLOWING


def _follows(state: GangState, failure: Failure) -> bool:
    """Tell whether a pod may have failed only because another was gone.

    What a rule names is the program's own statement.
    """
    gang = state.gang
    stated = failure.exit_code in gang.final_exit_codes or matching_action(gang.failure_policy.rules, failure)
    # Nothing runs yet beside an init container: it fails of its own.
    return not stated and failure.own and failure.reason == Reason.ERROR and failure.signal in _FOLLOWING


def first_failure(pods: Iterable[PodState]) -> Failure | None:
    """The failure that came first. Its peers often die of it within the same second, by exit code 1 or SIGABRT: what
    cannot be such a consequence (OOM, an eviction, a kill) is the likelier cause and goes before them.
    """
    failures = [pod.failure for pod in pods if pod.failure is not None]
    if not failures:
        return None
    first = min(failure.time for failure in failures)
    together = [failure for failure in failures if failure.time - first <= _TOGETHER]
    return min(together, key=lambda f: (f.reason == Reason.ERROR and f.signal not in _CAUSES, f.time, f.pod))
