"""Membership of pods in a job, decided here alone for all who count pods, believe them or delete them. Pure.

A pod is a member if its controller is this very job, in this namespace, and if its name is the one that the operator
gives to the pod of its index and attempt: an ownerReference and labels can be put on anything by whoever may create
pods. Who may create pods in the job's own namespace can forge all three; docs/security.md says what is left to him.
"""

from collections.abc import Iterable

from slipway.reconcile import labels
from slipway.runtime.caching.store import Store
from slipway.runtime.client.resource import Identity, Object, Resource, identity_of, name_of, parent_of

# Of an index or an attempt: more digits would not fit into a status.
MOST_DIGITS = 9
NODE = "node"
BENCH = "bench"


def members(pods: Store, job: Object, resource: Resource) -> list[Object]:
    """The job's pods of all attempts, by name; `resource` is the job's kind."""
    return members_of(pods, identity_of(job, resource), name_of(job))


def members_of(pods: Store, job: Identity, name: str) -> list[Object]:
    """Pods of all attempts of a job that may be gone, by name."""
    return named(pods.children(job), name)


def is_member(pod: Object, job: Object, resource: Resource) -> bool:
    """Tell whether the pod is a member of the job."""
    return parent_of(pod) == identity_of(job, resource) and bears_name(pod, name_of(job))


def named(pods: Iterable[Object], job_name: str) -> list[Object]:
    """Select the pods that bear the exact name of their index and attempt."""
    return [pod for pod in pods if bears_name(pod, job_name)]


def bears_name(pod: Object, job_name: str, kind: str | None = None) -> bool:
    """Tell whether the pod has the name that its labels ask for: {job}-{what}-{index}-a{attempt}.

    `what` is "node" for a TrainingJob, the number of the stage for a QuantizationJob and "bench" with the number of the
    trial for a SearchJob, whichever owns it, or is said by `kind` to have owned it.
    """
    marks = pod["metadata"].get("labels") or {}
    index, attempt = marks.get(labels.REPLICA_INDEX) or "", marks.get(labels.ATTEMPT) or ""
    if not (_plain(index) and _plain(attempt)):
        return False
    name, before, after = name_of(pod), f"{job_name}-", f"-{index}-a{attempt}"
    what = name[len(before) : -len(after)]
    return name == f"{before}{what}{after}" and _fits(what, kind or _kind(pod))


def _fits(what: str, kind: str) -> bool:
    if kind == "TrainingJob":
        return what == NODE
    if kind == "SearchJob":
        return what.startswith(BENCH) and _plain(what.removeprefix(BENCH))
    return _plain(what)


def _kind(pod: Object) -> str:
    parent = parent_of(pod)
    return parent.kind if parent is not None else ""


def _plain(text: str) -> bool:
    """Tell whether the text is a number as the operator writes them: 01 would be a second pod of index 1."""
    return 0 < len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")
