"""Traffic by the pods' /metrics: counters, their growth, and the growth of whole revisions. Pure.

Prometheus counters only grow, but for a server that was started again: whatever shrinks has begun from zero.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from slipway.runtime.scraping.exposition import Sample, samples

LATENCY = "slipway_request_seconds"
QUEUE = "slipway_queue_seconds"
INSIDE = "slipway_rows_in_server"
INFERENCES = "slipway_inferences_total"
REJECTED = "slipway_rejected_total"
OUTPUTS = "slipway_outputs"
STARTED = "process_start_time_seconds"
# Of a language model's server, under vLLM's names and our own.
TTFT = "vllm:time_to_first_token_seconds"
TPOT = "vllm:request_time_per_output_token_seconds"
_NOW = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "cache",
    "slipway_tokens_in_flight": "tokens",
    "slipway_tokens_waiting": "tokens",
}
_TIMES = {f"{LATENCY}_bucket": "slow", f"{TTFT}_bucket": "first", f"{TPOT}_bucket": "each"}
_FIGURES = {
    f"{LATENCY}_count": "answered",
    f"{LATENCY}_sum": "busy",
    f"{QUEUE}_sum": "queued",
    INSIDE: "inside",
    STARTED: "started",
}
LARGEST = 2**40
ANSWERED, FAILED = "answered", "failed"
# A server of a release without `slipway_inferences` tells its batcher's reasons only; these are the model's.
FAILURES = frozenset({"refused", "engine", "deadline"})
_SCORES = {
    "slipway_drift_answers_total": "answers",
    "slipway_drift_worse_nats_total": "worse",
    "slipway_drift_better_nats_total": "better",
    "slipway_drift_squares_total": "squares",
}
_GENERATION = {**_NOW, **_SCORES}
_COUNTED = {*_SCORES, INFERENCES, REJECTED, f"{OUTPUTS}_total", *_FIGURES, *_TIMES, *_NOW}
# Of a histogram, and of the distribution of outputs: more than a status has room for.
MOST_BUCKETS, MOST_BINS = 64, 1024
# No request takes longer; a bound beyond makes no sense, but for the infinite one.
LONGEST_SECONDS = 1e6
# In a window: more than a rollout ever compares.
MOST_REVISIONS = 16


@dataclass(frozen=True)
class Answers:
    """Answers in a language model's server just now: those that are made and that wait, tokens, share of the cache."""

    running: float = 0.0
    waiting: float = 0.0
    tokens: float = 0.0
    cache: float = 0.0

    def plus(self, other: "Answers") -> "Answers":
        """Sum of two servers."""
        return Answers(
            self.running + other.running,
            self.waiting + other.waiting,
            self.tokens + other.tokens,
            self.cache + other.cache,
        )


@dataclass(frozen=True)
class Scores:
    """Answers of a language model that a canary has scored: nats per token lost and won, summed, and their squares."""

    answers: float = 0.0
    worse: float = 0.0
    better: float = 0.0
    squares: float = 0.0

    def plus(self, other: "Scores", sign: int = 1) -> "Scores":
        """Sum, or what has come since `other`."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Scores(*(max(0.0, mine + sign * theirs) for mine, theirs in pairs))


@dataclass(frozen=True)
class Traffic:
    """Counters of a server, or their growth over a time. `slow`: requests by upper bound of their seconds.

    `answered`: inferences with a result; `errors`: those that the model failed; `others`: those that ended without a
    result for a reason of the client's (a bad request, a deadline of its own, gone) or of the load's (a full queue, a
    pod that leaves). Requests of other paths are none of them. `busy`, `queued`: seconds that inferences were in the
    server, and in its queue, added up. `outputs`: rows by output and bin. `inside`: rows that wait or are computed just
    now; of a growth, at its end. `started`: when the server's process began, by its own clock; 0 where it does not say.
    Of a language model `first` and `each`: answers by seconds to their first token and by the mean of those between
    tokens; `now`: what is there at the end; `scores`: what a canary beside it says of its answers.
    """

    answered: float = 0.0
    errors: float = 0.0
    busy: float = 0.0
    queued: float = 0.0
    slow: Mapping[float, float] = field(default_factory=dict)
    outputs: Mapping[str, float] = field(default_factory=dict)
    inside: float = 0.0
    others: float = 0.0
    started: float = 0.0
    first: Mapping[float, float] = field(default_factory=dict)
    each: Mapping[float, float] = field(default_factory=dict)
    now: Answers = Answers()
    scores: Scores = Scores()

    @property
    def requests(self) -> float:
        """Number of requests that say something of the model."""
        return self.answered + self.errors

    def plus(self, other: "Traffic") -> "Traffic":
        """Sum of the traffic of two servers, or of two times."""
        return Traffic(
            self.answered + other.answered,
            self.errors + other.errors,
            self.busy + other.busy,
            self.queued + other.queued,
            _added(self.slow, other.slow, 1),
            _added(self.outputs, other.outputs, 1),
            self.inside + other.inside,
            self.others + other.others,
            first=_added(self.first, other.first, 1),
            each=_added(self.each, other.each, 1),
            now=self.now.plus(other.now),
            scores=self.scores.plus(other.scores),
        )

    def since(self, before: "Traffic") -> "Traffic":
        """The growth from `before` to this; all of it where the server was started again in between."""
        if self.started != before.started or self.answered < before.answered or self.errors < before.errors:
            return self
        return Traffic(
            self.answered - before.answered,
            self.errors - before.errors,
            max(0.0, self.busy - before.busy),
            max(0.0, self.queued - before.queued),
            _added(self.slow, before.slow, -1),
            _added(self.outputs, before.outputs, -1),
            self.inside,
            max(0.0, self.others - before.others),
            self.started,
            _added(self.first, before.first, -1),
            _added(self.each, before.each, -1),
            self.now,
            self.scores.plus(before.scores, -1),
        )


K = TypeVar("K", str, float)


def _added(one: Mapping[K, float], other: Mapping[K, float], sign: int) -> dict[K, float]:
    found = {key: max(0.0, one.get(key, 0.0) + sign * other.get(key, 0.0)) for key in {**one, **other}}
    if len(found) <= MOST_BINS:
        return found
    # Who names its bins anew at every look does not make a window grow with them.
    return {key: found[key] for key in islice(found, MOST_BINS)}


def read_metrics(page: bytes) -> Traffic:
    """Read a server's /metrics. Raises ValueError for what is not Prometheus' text format, or no count."""
    figures = dict.fromkeys(("answered", "busy", "queued", "inside", "started"), 0.0)
    cumulative: dict[str, dict[float, float]] = {kind: {} for kind in _TIMES.values()}
    generation = dict.fromkeys([*_NOW.values(), *_SCORES.values()], 0.0)
    inferences: dict[str, float] = {}
    rejected: dict[str, float] = {}
    outputs: dict[str, float] = {}
    for sample in samples(page, _COUNTED):
        if sample.name in _FIGURES:
            figures[_FIGURES[sample.name]] = sample.value
        elif sample.name in _TIMES:
            cumulative[_TIMES[sample.name]][_bound(sample)] = sample.value
        elif sample.name in _GENERATION:
            generation[_GENERATION[sample.name]] += sample.value
        elif sample.name == INFERENCES:
            _add(inferences, sample.labels.get("outcome", ""), sample.value)
        elif sample.name == REJECTED:
            _add(rejected, sample.labels.get("reason", ""), sample.value)
        elif sample.name == f"{OUTPUTS}_total":
            outputs[f"{sample.labels.get('output')}/{sample.labels.get('bin')}"] = sample.value
    if max(map(len, cumulative.values())) > MOST_BUCKETS or len(outputs) > MOST_BINS:
        raise ValueError(f"more than {MOST_BUCKETS} buckets of {LATENCY}, or {MOST_BINS} bins of {OUTPUTS}")
    counted = [count for counts in cumulative.values() for count in counts.values()]
    figures |= _ends(inferences, rejected, figures["answered"])
    counted += [*figures.values(), *generation.values(), *outputs.values()]
    # An image of somebody's own may say anything, and its NaN would end up in the status.
    if not all(0 <= count <= LARGEST for count in counted):
        raise ValueError("a counter is not a finite number from 0 on")
    times = {kind: _by_bucket(counts) for kind, counts in cumulative.items()}
    return Traffic(
        **figures,
        slow=times["slow"],
        first=times["first"],
        each=times["each"],
        outputs=outputs,
        now=Answers(**{name: generation[name] for name in _NOW.values()}),
        scores=Scores(**{name: generation[name] for name in _SCORES.values()}),
    )


def _add(counts: dict[str, float], kind: str, count: float) -> None:
    counts[kind] = counts.get(kind, 0.0) + count


def _ends(inferences: Mapping[str, float], rejected: Mapping[str, float], answered: float) -> dict[str, float]:
    """Counts of inferences by their end: what the server counts by outcome, or an older server's reasons."""
    if not inferences:
        inferences = {ANSWERED: answered}
        failed = sum(count for reason, count in rejected.items() if reason in FAILURES)
        others = sum(count for reason, count in rejected.items() if reason not in FAILURES)
    else:
        failed = inferences.get(FAILED, 0.0)
        others = sum(count for outcome, count in inferences.items() if outcome not in {ANSWERED, FAILED})
    return {"answered": inferences.get(ANSWERED, 0.0), "errors": failed, "others": others}


def _bound(sample: Sample) -> float:
    seconds = float(sample.labels.get("le", ""))
    if not (0 <= seconds <= LONGEST_SECONDS or seconds == math.inf):
        raise ValueError(f"{sample.name} has a bucket up to {seconds:g} s")
    return seconds


def _by_bucket(cumulative: Mapping[float, float]) -> dict[float, float]:
    counts, below = {}, 0.0
    for bound in sorted(cumulative):
        # What counts down makes no sense, and would end up in the status.
        counts[bound] = max(0.0, cumulative[bound] - below)
        below = cumulative[bound]
    return counts


@dataclass(frozen=True)
class TrafficSample:
    """A pod's counters at a time (any clock, in seconds)."""

    revision: str
    at: float
    counters: Traffic


@dataclass(frozen=True)
class Window:
    """Growth since `began`, by revision. `name` says what it is for: another name begins another window.

    `pods`: what was seen last, by UID. `pace`: growth and seconds of the last interval, by pod.
    """

    name: str
    began: float
    pods: Mapping[str, TrafficSample] = field(default_factory=dict)
    revisions: Mapping[str, Traffic] = field(default_factory=dict)
    pace: Mapping[str, tuple[Traffic, float]] = field(default_factory=dict)


def advance(window: Window | None, name: str, now: float, seen: Mapping[str, TrafficSample]) -> Window:
    """Take in what these pods say now; the others are as they were. One seen for the first time counts from here on."""
    fresh = window is None or window.name != name
    before = window.pods if window is not None else {}
    pace = {
        uid: (pod.counters.since(before[uid].counters), pod.at - before[uid].at)
        for uid, pod in seen.items()
        if uid in before and pod.at > before[uid].at
    }
    revisions = {} if fresh or window is None else dict(window.revisions)
    began = now if fresh or window is None else window.began
    for uid, (growth, _) in pace.items():
        # Pods are heard one by one: what one counted before the window began is not of this window.
        if before[uid].at >= began:
            revision = seen[uid].revision
            if revision in revisions or len(revisions) < MOST_REVISIONS:
                revisions[revision] = revisions.get(revision, Traffic()).plus(growth)
    paces = {**window.pace, **pace} if window is not None else pace
    return Window(name, began, {**before, **seen}, revisions, paces)


def forget(window: Window, alive: Iterable[str], silent: Iterable[str] = ()) -> Window:
    """Drop pods that are gone; what they counted stays. Of those that are `silent` the pace is not known any more."""
    kept = set(alive)
    pods = {uid: pod for uid, pod in window.pods.items() if uid in kept}
    heard = kept.difference(silent)
    pace = {uid: growth for uid, growth in window.pace.items() if uid in heard}
    return Window(window.name, window.began, pods, window.revisions, pace)
