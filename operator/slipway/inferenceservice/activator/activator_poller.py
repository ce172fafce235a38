"""Poller of activators: asks them whether clients come to services that sleep, and keeps the answers. For reconcile.py.

An activator answers when somebody comes, or after a while: so the first request is heard of at once, and a service that
sleeps costs a question every twenty seconds. It only decides and remembers; the scraper asks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from slipway.inferenceservice.activator.activator import CONTROL_PORT, decided_at, in_place, is_ready, unsettled
from slipway.inferenceservice.observed import host_of
from slipway.inferenceservice.policy.demand import ActivatorReply, demand_since, read_demand
from slipway.inferenceservice.policy.zero import HANDOVER_SECONDS, ActivatorState
from slipway.inferenceservice.state import Observed
from slipway.reconcile.plan import soonest
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import SERVICES, Object, name_of, uid_of
from slipway.runtime.scraping.scrape import Scraper, ScrapeResult

# An activator answers within twenty seconds; and each service that sleeps waits for an answer.
LONGEST, MOST = 30.0, 10000
# Bytes of what it says.
LARGEST = 2**14
# Between two questions to the same pod; to one that answers nothing sensible, twice as much each time.
PAUSE_SECONDS, SELDOM_SECONDS = 1.0, 8.0
# Who cannot be asked for so long is as none: a replica serves until that is mended.
DEAF_SECONDS = 60.0


@dataclass
class _ActivatorReplies:
    """Memory of one service's activator, by pod UID: answers, last questions, and since when there is no answer."""

    told: dict[str, ActivatorReply] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    # In a row.
    failures: dict[str, int] = field(default_factory=dict)

    def keep_only(self, pods: Iterable[str]) -> None:
        there = set(pods)
        for kept in (self.told, self.asked, self.silent, self.failures):
            for gone in set(kept) - there:
                del kept[gone]


class ActivatorPoller:
    """Demand for each service that sleeps, as its activator tells it, by UID."""

    def __init__(self, scraper: Scraper, mark: Callable[[Key], None], clock: Callable[[], datetime]) -> None:
        """`scraper` has to wait for LONGEST seconds (see workloads/activator/control.py)."""
        self._scraper = scraper
        self._mark = mark
        self._clock = clock
        self._replies: dict[str, _ActivatorReplies] = {}

    def keep_only(self, uids: Iterable[str]) -> None:
        """Forget services that are gone."""
        there = set(uids)
        self._replies = {uid: replies for uid, replies in self._replies.items() if uid in there}

    def beside(self, service: Object, observed: Observed, pods: Sequence[Object]) -> Observed:
        """Copy of `observed` with what is known of the service's activator; `pods` are the activator's."""
        return replace(observed, activator_state=self._standby(service, observed, pods))

    def _standby(self, service: Object, observed: Observed, pods: Sequence[Object]) -> ActivatorState:
        uid, since, now = uid_of(service), decided_at(service), self._clock().timestamp()
        replies = self._replies.get(uid, _ActivatorReplies())
        demand = demand_since(now if since is None else since, replies.told, _urls(pods))
        return ActivatorState(
            ready=is_ready(observed.activator),
            in_place=in_place(observed.children.get(SERVICES, {}).get(name_of(service)), uid),
            quiet=demand.known and not demand.wanted,
            wanted=demand.wanted,
            held=demand.held,
            deaf=any(now - silent > DEAF_SECONDS for silent in replies.silent.values()),
            emptied=not any(deployment["spec"].get("replicas", 1) for deployment in observed.deployments),
            unsettled=unsettled(service, observed.source),
        )

    def ask(self, key: Key, service: Object, pods: Sequence[Object]) -> float | None:
        """Ask what is due; returns the seconds until something is due again, or None."""
        uid, since, now = uid_of(service), decided_at(service), self._clock().timestamp()
        if since is None:
            self._replies.pop(uid, None)
            return None
        urls, replies = _urls(pods), self._replies.setdefault(uid, _ActivatorReplies())
        replies.keep_only(urls)
        handover = since + HANDOVER_SECONDS - now
        due = (self._one(key, replies, since, pod, url) for pod, url in urls.items())
        return soonest(handover if handover > 0 else None, *due)

    def _one(self, key: Key, replies: _ActivatorReplies, since: float, pod: str, url: str) -> float | None:
        now = self._clock().timestamp()
        pause = min(SELDOM_SECONDS, PAUSE_SECONDS * 2.0 ** min(replies.failures.get(pod, 0), 8))
        left = replies.asked.get(pod, 0.0) + pause - now
        if left > 0:
            return left
        # At first an answer is needed at once: the last replica waits for it.
        page = "demand" if pod in replies.told and replies.told[pod].at > since else "metrics"
        heard = partial(self._heard, key, replies)
        if self._scraper.ask((key, pod), key.namespace, {pod: f"{url}/{page}"}, self._read, heard):
            replies.asked[pod] = now
        return None

    def _read(self, page: bytes) -> ActivatorReply:
        return read_demand(page, self._clock().timestamp())

    def _heard(self, key: Key, replies: _ActivatorReplies, pages: Mapping[str, ScrapeResult[ActivatorReply]]) -> None:
        now = self._clock().timestamp()
        for pod, page in pages.items():
            if page.said is not None:
                replies.told[pod] = page.said
                replies.silent.pop(pod, None)
                replies.failures.pop(pod, None)
            else:
                replies.silent.setdefault(pod, now)
                replies.failures[pod] = replies.failures.get(pod, 0) + 1
        self._mark(key)


def _urls(pods: Sequence[Object]) -> dict[str, str]:
    """URLs of the activator's running pods, by UID; also of one that leaves, for it may hold somebody."""
    found = {}
    for pod in pods:
        host = host_of(pod)
        if host and (pod.get("status") or {}).get("phase") == "Running":
            found[uid_of(pod)] = f"http://{host}:{CONTROL_PORT}"
    return found
