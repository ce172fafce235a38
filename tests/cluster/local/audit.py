"""What was asked of a control plane's apiserver: its audit log, read so that nothing that has had an effect is missing.

The server tells the watchers of a write before the write's own line of the log is there. On a busy machine a test that
had awaited the effect counted a request too few. So each request has two lines, and the first one, which is written
before the server does anything, says whose second one is to be awaited.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.rest import Object

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}
_LASTING = {"exec", "attach", "portforward", "proxy", "log"}


@dataclass
class AuditLog:
    """The log at `path`. `patience`: seconds to wait for a request to end; one that the server died of never does."""

    path: Path
    patience: float = 10.0
    _given_up: set[str] = field(default_factory=set)

    def finished(self) -> list[Object]:
        """The requests that have ended, oldest end first, with all that had come in when this was called."""
        deadline = time.monotonic() + self.patience
        due: set[str] | None = None
        while True:
            events = self._read()
            ended = [event for event in events if event["stage"] != "RequestReceived"]
            known = {event["auditID"] for event in ended}
            if due is None:
                due = {event["auditID"] for event in events if _ends(event)} - self._given_up
            if due <= known:
                return ended
            if time.monotonic() > deadline:
                self._given_up |= due - known
                return ended
            time.sleep(0.05)  # a file has no watch

    def _read(self) -> list[Object]:
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        # The server may be in the middle of writing the last one.
        return [json.loads(line) for line in lines if line.endswith("\n")]


def _ends(event: Object) -> bool:
    """Whether it is a request that is answered and done: a watch's line comes when it ends, which may be never."""
    return event["verb"] != "watch" and (event.get("objectRef") or {}).get("subresource") not in _LASTING
