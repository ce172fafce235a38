"""What is remembered of the services between looks: what their pods said. Used by reconcile.py.

A canary's figures are in its status as well, and the next operator goes on from them; otherwise a canary could not end
under an operator that is replaced more often than a step lasts. The rest is lost with the process: nothing scales down
for a while.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.api.servicestatus import MOST_BINS, CanaryEvidence, RevisionCounts
from slipway.inferenceservice.observed import ready_pods, revision_of
from slipway.inferenceservice.policy.scale import Recommendation
from slipway.inferenceservice.policy.traffic import Seen, Traffic, Window, advance, forget, read_metrics
from slipway.inferenceservice.service import HTTP_PORT
from slipway.runtime.conditions import shorten
from slipway.runtime.scrape import Page

# Between two questions to the same pods: for a canary, for the load, for the model.
CANARY_SECONDS = 2.0
LOAD_SECONDS = 5.0
MODEL_SECONDS = 60.0

Object = Mapping[str, Any]


@dataclass
class Memory:
    """Of one service. Times in seconds of the wall clock."""

    window: Window | None = None
    # Why the last question gave nothing.
    unread: str = ""
    metrics_asked: float = float("-inf")
    model_asked: float = float("-inf")
    # The metadata that a pod gave, and the pod's revision.
    model: tuple[str, Mapping[str, Any]] | None = None
    history: Sequence[Recommendation] = field(default_factory=tuple)


def metrics_pause(obj: Object) -> float | None:
    """Seconds between two looks at the pods' metrics; None while no decision waits for them."""
    if any(c.get("phase") == "Analysing" for c in (obj.get("status") or {}).get("canaryStatuses") or []):
        return CANARY_SECONDS
    scaling = (obj.get("spec") or {}).get("autoScaling") or {}
    return LOAD_SECONDS if scaling and scaling.get("scaleMetric", "Concurrency") != "CPU" else None


def window_name(status: Mapping[str, Any]) -> str:
    """What the figures are gathered for: each try and each step of a canary begins with none."""
    canaries = status.get("canaryStatuses") or [{}]
    return "/".join(str(canaries[0].get(key, "")) for key in ("attempt", "step", "phase"))


def canary_evidence(
    window: Window, compared: Sequence[str], known: Object | None, now: datetime, *, outputs: bool
) -> Object:
    """What a window has of the revisions that are compared; with `outputs` for a gate that asks for their drift.

    `known`, what is there, stays until somebody has sent requests: an idle canary writes nothing.
    """
    found = {revision: window.revisions[revision] for revision in sorted(compared) if revision in window.revisions}
    counts = [_counts(revision, traffic, outputs) for revision, traffic in found.items()]
    wire = CanaryEvidence(watched_seconds=int(now.timestamp() - window.began), revisions=counts).wire()
    return known if known is not None and known.get("revisions") == wire["revisions"] else wire


def _counts(revision: str, traffic: Traffic, outputs: bool) -> RevisionCounts:
    slow = {str(bound): int(count) for bound, count in traffic.slow.items() if count}
    bins = {kind: int(count) for kind, count in traffic.outputs.items()}
    if not outputs or len(bins) > MOST_BINS:
        bins = {}
    return RevisionCounts(
        revision=revision, answered=int(traffic.answered), errors=int(traffic.errors), slow=slow, outputs=bins
    )


def recall(status: Object, now: datetime) -> Window | None:
    """The window that the last operator has written. Time without an operator was not watched, and does not count."""
    canaries = status.get("canaryStatuses") or [{}]
    written = canaries[0].get("evidence")
    if written is None:
        return None
    evidence = CanaryEvidence.model_validate(written)
    revisions = {
        counts.revision: Traffic(
            counts.answered,
            counts.errors,
            slow={float(bound): count for bound, count in counts.slow.items()},
            outputs=dict(counts.outputs),
        )
        for counts in evidence.revisions
    }
    return Window(window_name(status), now.timestamp() - evidence.watched_seconds, revisions=revisions)


def model_revision(status: Mapping[str, Any]) -> str:
    """The revision whose pods have still to be asked for their model; empty when it is known."""
    revision = ((status.get("components") or {}).get("predictor") or {}).get("latestRolledoutRevision") or ""
    return "" if (status.get("servedModel") or {}).get("revision") == revision else str(revision)


def metrics_urls(pods: Sequence[Object]) -> dict[str, str]:
    """Where each pod that serves tells its figures, by UID."""
    return {uid: f"{_base(pod)}/metrics" for uid, pod in ready_pods(pods).items()}


def model_urls(name: str, revision: str, pods: Sequence[Object]) -> dict[str, str]:
    """Where one pod of the revision describes its model; empty while none serves."""
    found = [pod for pod in ready_pods(pods).values() if revision_of(pod) == revision]
    return {revision: f"{_base(found[0])}/v2/models/{name}"} if found else {}


def _base(pod: Object) -> str:
    address = pod["status"]["podIP"]
    return f"http://[{address}]:{HTTP_PORT}" if ":" in address else f"http://{address}:{HTTP_PORT}"


def heard_metrics(memory: Memory, name: str, pods: Sequence[Object], pages: Mapping[str, Page], now: datetime) -> None:
    """Take in what the pods said."""
    at, seen, unread = now.timestamp(), {}, ""
    alive = {str(pod["metadata"]["uid"]): pod for pod in pods}
    for uid, page in pages.items():
        if uid not in alive:
            continue
        try:
            if page.error:
                raise ValueError(page.error)
            seen[uid] = Seen(revision_of(alive[uid]), at, read_metrics(page.text))
        except ValueError as error:
            unread = shorten(f"metrics of pod {alive[uid]['metadata']['name']} cannot be read: {error}", 256)
    memory.window = forget(advance(memory.window, name, at, seen), alive)
    memory.unread = unread


def heard_model(memory: Memory, pages: Mapping[str, Page]) -> None:
    """Take in a pod's description of its model; one that makes no sense is as none."""
    for revision, page in pages.items():
        try:
            described = json.loads(page.text) if not page.error else None
        except ValueError:
            described = None
        if isinstance(described, dict):
            memory.model = (revision, described)
