"""Memory of the services between looks: what their pods said. Used by reconcile.py.

A canary's figures are in its status as well, and the next operator goes on from them; otherwise a canary could not end
under an operator that is replaced more often than a step lasts. The rest is lost with the process: nothing scales down
for a while.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from slipway.api.serving.status import MOST_BINS, MOST_COUNTED, CanaryEvidence, RevisionCounts
from slipway.inferenceservice.observed import host_of, ready_pods, revision_of
from slipway.inferenceservice.policy.scale import Recommendation
from slipway.inferenceservice.policy.traffic import MOST_BUCKETS, Traffic, TrafficSample, Window, advance, forget
from slipway.inferenceservice.service import HTTP_PORT, SCHEME
from slipway.runtime.conditions import shorten
from slipway.runtime.scraping.scrape import ScrapeResult

# Between two questions to the same pods: for a canary, for the load, for the model.
CANARY_SECONDS = 2.0
LOAD_SECONDS = 5.0
MODEL_SECONDS = 60.0
# A pod that gives no figures is asked half as often each time, down to once in so many seconds.
SELDOM_SECONDS = 60.0
# So often in a row: the service's condition says so. Once may be a burst of requests, or a pod that leaves.
GIVEN_UP = 3

Object = Mapping[str, Any]


@dataclass(frozen=True)
class ScrapeFailure:
    """Failure of a pod to give figures: why, and how often in a row. `until`: when it is asked again."""

    pod: str
    why: str
    times: int
    until: float


@dataclass
class TrafficHistory:
    """Memory of one service. Times in seconds of the wall clock."""

    window: Window | None = None
    metrics_asked: float = float("-inf")
    model_asked: float = float("-inf")
    # The revision whose pods were asked then: another one is asked at once.
    model_of: str = ""
    # Pods that were asked for their figures and have not answered yet, and those that gave none; by UID.
    asked: set[str] = field(default_factory=set)
    silent: dict[str, ScrapeFailure] = field(default_factory=dict)
    # status.servedModel as a pod told it.
    model: Mapping[str, Any] | None = None
    history: Sequence[Recommendation] = field(default_factory=tuple)

    @property
    def unread(self) -> str:
        """Reason for which the last question gave nothing of some pod; empty when all told their figures."""
        return _words(list(self.silent.values()))

    @property
    def given_up(self) -> str:
        """Reason for which some pod has given no figures for long; empty for none."""
        return _words([silence for silence in self.silent.values() if silence.times >= GIVEN_UP])


def _words(silent: Sequence[ScrapeFailure]) -> str:
    if not silent:
        return ""
    first, more = min(silent, key=lambda silence: silence.pod), len(silent) - 1
    others = f"; nor those of {more} other pod{'s' if more > 1 else ''}" if more else ""
    return shorten(f"metrics of pod {first.pod} cannot be read: {first.why}", 512) + others


def metrics_pause(obj: Object) -> float | None:
    """Seconds between two looks at the pods' metrics; None while no decision waits for them."""
    if any(c.get("phase") == "Analysing" for c in (obj.get("status") or {}).get("canaryStatuses") or []):
        return CANARY_SECONDS
    scaling = (obj.get("spec") or {}).get("autoScaling") or {}
    return LOAD_SECONDS if scaling and scaling.get("scaleMetric", "Concurrency") != "CPU" else None


def window_name(status: Mapping[str, Any]) -> str:
    """Name of the window of figures: each try, step and phase of a canary begins with none."""
    canaries = status.get("canaryStatuses") or [{}]
    return "/".join(str(canaries[0].get(key, "")) for key in ("attempt", "step", "phase"))


def canary_evidence(
    window: Window, compared: Sequence[str], known: Object | None, now: datetime, *, outputs: bool
) -> Object:
    """Evidence of a window on the revisions that are compared; with `outputs` for a gate that asks for their drift.

    `known`, what is there, stays until somebody has sent requests: an idle canary writes nothing.
    """
    found = {revision: window.revisions[revision] for revision in sorted(compared) if revision in window.revisions}
    counts = [_counts(revision, traffic, outputs) for revision, traffic in found.items()]
    wire = CanaryEvidence(watched_seconds=int(now.timestamp() - window.began), revisions=counts).wire()
    return known if known is not None and known.get("revisions") == wire["revisions"] else wire


def _counts(revision: str, traffic: Traffic, outputs: bool) -> RevisionCounts:
    slow, first, each = map(_buckets, (traffic.slow, traffic.first, traffic.each))
    bins = {kind: _whole(count) for kind, count in traffic.outputs.items()}
    return RevisionCounts(
        revision=revision,
        answered=_whole(traffic.answered),
        errors=_whole(traffic.errors),
        slow=slow,
        first=first,
        each=each,
        outputs=bins if outputs and len(bins) <= MOST_BINS else {},
    )


def _buckets(times: Mapping[float, float]) -> dict[str, int]:
    counts = {str(bound): _whole(count) for bound, count in times.items() if count}
    return counts if len(counts) <= MOST_BUCKETS else {}


def _whole(count: float) -> int:
    return min(MOST_COUNTED, int(count))


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
            first={float(bound): count for bound, count in counts.first.items()},
            each={float(bound): count for bound, count in counts.each.items()},
        )
        for counts in evidence.revisions
    }
    return Window(window_name(status), now.timestamp() - evidence.watched_seconds, revisions=revisions)


def model_revision(status: Mapping[str, Any]) -> str:
    """The revision whose pods have still to be asked for their model; empty when it is known."""
    revision = ((status.get("components") or {}).get("predictor") or {}).get("latestRolledoutRevision") or ""
    return "" if (status.get("servedModel") or {}).get("revision") == revision else str(revision)


def metrics_urls(memory: TrafficHistory, pods: Sequence[Object], now: datetime) -> dict[str, str]:
    """URLs of the metrics of pods that serve, by UID; without those that are given up for a while, or asked already.

    What is remembered of pods that are gone, or do not serve, is forgotten.
    """
    ready = ready_pods(pods)
    if memory.window is not None:
        memory.window = forget(memory.window, (str(pod["metadata"]["uid"]) for pod in pods))
    memory.silent = {uid: silence for uid, silence in memory.silent.items() if uid in ready}
    waiting = {uid for uid, silence in memory.silent.items() if silence.until > now.timestamp()}
    return {uid: f"{_base(pod)}/metrics" for uid, pod in ready.items() if uid not in waiting | memory.asked}


def model_urls(name: str, revision: str, pods: Sequence[Object]) -> dict[str, str]:
    """URL at which one pod of the revision describes its model, by revision; empty while none serves."""
    found = [pod for pod in ready_pods(pods).values() if revision_of(pod) == revision]
    return {revision: f"{_base(found[0])}/v2/models/{name}"} if found else {}


def _base(pod: Object) -> str:
    scheme = "https" if (pod["metadata"].get("labels") or {}).get(SCHEME) == "https" else "http"
    return f"{scheme}://{host_of(pod)}:{HTTP_PORT}"


def heard_metrics(
    memory: TrafficHistory, name: str, pods: Sequence[Object], pages: Mapping[str, ScrapeResult[Traffic]], now: datetime
) -> None:
    """Take in what these pods said: as they were when they were asked, for they may have gone since."""
    at, seen = now.timestamp(), {}
    asked = {str(pod["metadata"]["uid"]): pod for pod in pods}
    for uid in asked.keys() & pages.keys():
        page = pages[uid]
        memory.asked.discard(uid)
        if page.said is not None:
            seen[uid] = TrafficSample(revision_of(asked[uid]), at, page.said)
            memory.silent.pop(uid, None)
            continue
        times = memory.silent[uid].times + 1 if uid in memory.silent else 1
        pause = min(SELDOM_SECONDS, LOAD_SECONDS * 2.0 ** min(times - 1, 16))
        memory.silent[uid] = ScrapeFailure(str(asked[uid]["metadata"]["name"]), page.error, times, at + pause)
    window = advance(memory.window, name, at, seen)
    memory.window = window if len(seen) == len(pages) else forget(window, window.pods, memory.silent)


def heard_model(memory: TrafficHistory, pages: Mapping[str, ScrapeResult[Mapping[str, Any]]]) -> None:
    """Take in a pod's description of its model; one that makes no sense is as none."""
    for page in pages.values():
        memory.model = page.said or memory.model
