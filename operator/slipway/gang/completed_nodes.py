"""Nodes of the current attempt that have done their work. Pure; called by lifecycle.py, read by state.py.

A pod that has ended may be removed at any time: by a collector, a drain, a node that is scaled away. What it achieved
is kept in status.completed, so that finished work is not done again. Ends of one moment share a write, but what is
about to be lost, or is lost already and known from its last event, is written at once. docs/adr/0016 says what that
leaves.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from slipway.reconcile.pods.observed import PodState

if TYPE_CHECKING:
    from slipway.gang.state import GangState


def remember(state: "GangState") -> bool:
    """Add to the draft what pods have done; returns whether it must be written before anything else happens."""
    draft, attempt, places = state.draft, state.draft.run.attempt, set(state.indices)
    done = [
        pod
        for pod in (*state.pods, *state.deleted_pods)
        if (pod.attempt, pod.phase) == (attempt, "Succeeded") and pod.index in places
        if pod.name == state.gang.pod_name(pod.index, attempt)
    ]
    known = state.completed
    new = [pod for pod in done if pod.index not in known]
    if not new:
        return False
    told = draft.fields.get("completed") or {}
    results = (pod.termination_message for pod in sorted(new, key=lambda pod: pod.index))
    result = told.get("result") or next((words for words in results if state.gang.tells(words)), "")
    draft.fields["completed"] = {
        "indexes": format_indexes({*known, *(pod.index for pod in new)}),
        **({"result": result} if result else {}),
    }
    there = {pod.uid for pod in state.pods}
    return any(pod.deleting or pod.uid not in there for pod in new)


def stand_in(state: "GangState", index: int) -> PodState:
    """A pod that had succeeded and is gone, as it would be seen."""
    attempt = state.draft.run.attempt
    return PodState(
        name=state.gang.pod_name(index, attempt),
        uid="",
        index=index,
        attempt=attempt,
        phase="Succeeded",
        node="",
        ready=False,
        deletion_time=None,
        obstacle=None,
        failure=None,
        termination_message=(state.draft.fields.get("completed") or {}).get("result") or "",
    )


def format_indexes(indexes: Iterable[int]) -> str:
    """Format indices in the notation of Kubernetes' indexed Jobs: 0,2-5."""
    runs: list[list[int]] = []
    for index in sorted({*indexes}):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_indexes(text: str, among: Collection[int]) -> frozenset[int]:
    """Indices of `among` that the text names; what it names beside them is not even counted up."""
    if not text or not among:
        return frozenset()
    most, found = max(among), set[int]()
    for run in text.split(","):
        first, _, last = run.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            found.update(range(int(first), min(int(last or first), most) + 1))
    return frozenset(found.intersection(among))
