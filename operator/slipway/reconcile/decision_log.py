"""Log of decisions: one line for each that a status now holds, with whose it is and why. Called by execute.py.

Events say the same to who owns the resource; they are gone after an hour, and a log is kept.
A line is written only after the status was, so a look that decides the same again writes none.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slipway.reconcile.plan import Notice
from slipway.runtime import conditions
from slipway.runtime.client.resource import Object, name_of, namespace_of, uid_of

log = logging.getLogger("slipway.decisions")
MAX_MESSAGE = 1024
"""Characters of a message: a kubelet's or a tenant's words may be in it."""


def decisions(old: Mapping[str, Any], new: Mapping[str, Any], notices: Iterable[Notice]) -> Iterator[Notice]:
    """Decisions between two statuses: what is told as an event, and another reason of Ready that no event tells."""
    told = list(notices)
    yield from told
    before, after = (conditions.get(status.get("conditions") or [], "Ready") or {} for status in (old, new))
    reason = str(after.get("reason", ""))
    if reason and reason != before.get("reason") and all(notice.reason != reason for notice in told):
        yield Notice("Normal" if after["status"] != "False" else "Warning", reason, str(after.get("message", "")))


def log_decisions(kind: str, old: Object, new: Object, notices: Iterable[Notice]) -> None:
    """Write a line for each decision. The resource's name is in `resource`: `name` is the logger's in Python."""
    for notice in decisions(old.get("status") or {}, new.get("status") or {}, notices):
        whose = {"kind": kind, "namespace": namespace_of(new), "resource": name_of(new), "uid": uid_of(new)}
        # On a terminal, too, one line is one decision.
        message = " ".join(notice.message.split())[:MAX_MESSAGE]
        level = logging.WARNING if notice.type == "Warning" else logging.INFO
        words = "%s %s/%s %s: %s", kind, namespace_of(new), name_of(new), notice.reason, message
        log.log(level, *words, extra={**whose, "reason": notice.reason})
