"""What was asked of a control plane's apiserver: its audit log, read so that nothing that has had an effect is missing.

The server tells the watchers of a write before the write's own line of the log is there. On a busy machine a test that
had awaited the effect counted a request too few. So each request has two lines, and the first one, which is written
before the server does anything, says whose second one is to be awaited.

A log grows to tens of megabytes and tests ask for it hundreds of times: each line is read and parsed once.
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
    # Of all that was read so far: where it ended in the file, which requests had come in, and which had ended.
    _read_to: int = 0
    _due: set[str] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    _ended: list[Object] = field(default_factory=list)

    def finished(self) -> list[Object]:
        """The requests that have ended, oldest end first, with all that had come in when this was called.

        Callers share the events; the list is their own.
        """
        deadline = time.monotonic() + self.patience
        self._read()
        due = self._due - self._given_up
        while not due <= self._known:
            if time.monotonic() > deadline:
                self._given_up |= due - self._known
                break
            time.sleep(0.05)  # a file has no watch
            self._read()
        return list(self._ended)

    def _read(self) -> None:
        if not self.path.exists():
            return
        if self.path.stat().st_size < self._read_to:
            self._read_to = 0  # the server has begun a new file
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            text = file.read()
        # The server may be in the middle of writing the last line.
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, event: Object) -> None:
        if _ends(event):
            self._due.add(event["auditID"])
        if event["stage"] != "RequestReceived":
            self._known.add(event["auditID"])
            self._ended.append(event)


def _ends(event: Object) -> bool:
    """Whether it is a request that is answered and done: a watch's line comes when it ends, which may be never."""
    return event["verb"] != "watch" and (event.get("objectRef") or {}).get("subresource") not in _LASTING
