"""The words of a plan: what a pure `plan()` decides and a kind's `reconcile()` carries out, in this order.

verify -> status and events (when `persist_first`) -> deletes -> patches -> writes -> status and events (else). What
must not be decided twice, such as a restart, is persisted first: a crash repeats the actions and never the decision.
Events are told only when the status that they explain has really changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slipway.runtime.client.resource import Resource

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Write:
    """An object to create; `replace` also brings one of ours that is there up to date (server-side apply).

    `made`: what it is, or how it is rendered: a thousand pods of a large spec take seconds, and gigabytes at once.
    `drawn`: keys of a Secret, for each of which a random value is drawn when it is written. Such an object is never
    read, and stays as it is once it is there: its name must be one that nobody else can have.
    `news`: it has a controller of its own, which hears of it by the answer: the watch's echo is none any more.
    """

    resource: Resource
    made: Manifest | Callable[[], Manifest]
    replace: bool = False
    drawn: tuple[str, ...] = ()
    news: bool = False

    @property
    def manifest(self) -> Manifest:
        """Manifest of the object, rendered anew each time where it is rendered at all."""
        return self.made if isinstance(self.made, dict) else self.made()


@dataclass(frozen=True)
class Keep:
    """An object that must be there while the pods run. `write` makes it anew where it is gone or not `intact`, which
    is asked of it as the cache has it.
    """

    name: str
    write: Write
    intact: Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Patch:
    """A merge patch of an object, if it still is the one seen: for what cannot be rendered anew."""

    resource: Resource
    name: str
    uid: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Delete:
    """An object to delete, if it still is the one seen; `uid` is empty where the name cannot be anybody else's.

    `force` does not wait for a kubelet that is gone. `unseen`: no watch tells of it, so that it is read first, and
    deleted where the job owns it.
    """

    resource: Resource
    name: str
    uid: str
    force: bool = False
    unseen: bool = False


@dataclass(frozen=True)
class Notice:
    """An event for `kubectl describe`."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """Plan of one look. `status` None leaves the status as it is; `requeue_after` is the nearest deadline in seconds.

    `verify_absent`: do nothing if one of these pods is there after all. `verify_job`: do nothing if the job that was
    looked at is not the newest any more. Both guard against a watch that lags behind. `least`: of the attempt's pods so
    many are of use; if fewer are there when one is refused, they are taken back.
    """

    status: dict[str, Any] | None = None
    persist_first: bool = False
    verify_absent: tuple[str, ...] = ()
    verify_job: bool = False
    deletes: tuple[Delete, ...] = ()
    patches: tuple[Patch, ...] = ()
    writes: tuple[Write, ...] = ()
    keeps: tuple[Keep, ...] = ()
    notices: tuple[Notice, ...] = ()
    requeue_after: float | None = None
    delete_job: bool = False
    least: int | None = None


def soonest(*delays: float | None) -> float | None:
    """The nearest of several deadlines, in seconds from now."""
    return min((delay for delay in delays if delay is not None), default=None)
