"""Progress of the training, reported while it runs.

The first process tells people on the terminal and the operator by HTTPS; neither may slow or fail it.

The wire format and the three variables are Kubeflow's KEP-2779, so the operator understands the Hugging Face callback
as well.
"""

import math
import os
import ssl
import sys
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from workloads import strict_json

URL, CA_CERT, TOKEN = "KUBEFLOW_TRAINER_SERVER_URL", "KUBEFLOW_TRAINER_SERVER_CA_CERT", "KUBEFLOW_TRAINER_SERVER_TOKEN"
INTERVAL = 5.0  # seconds between two posts at least; KEP-2779 asks for as much
PATIENCE = 3.0  # seconds for one post


@dataclass(frozen=True)
class Snapshot:
    """Progress of the run at one step.

    `metrics` holds loss, accuracy, epoch and samples_per_second as far as they are known.
    """

    step: int
    total_steps: int
    remaining_seconds: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def percent(self) -> int:
        """Percentage of the steps that are done, at most 99.

        The last percent is evaluation and writing: 100 is posted only when the artifact is published.
        """
        return min(99, self.step * 100 // max(1, self.total_steps))


def payload(snapshot: Snapshot, now: datetime, percent: int | None = None) -> dict[str, Any]:
    """A training's post. KEP-2779 has no field for steps: step and total_steps travel as metrics."""
    numbers = {"step": snapshot.step, "total_steps": snapshot.total_steps, **snapshot.metrics}
    return body(snapshot.percent if percent is None else percent, snapshot.remaining_seconds, numbers, now)


def body(percent: int, remaining_seconds: int | None, metrics: Mapping[str, float], now: datetime) -> dict[str, Any]:
    """A post as KEP-2779 has it."""
    status: dict[str, Any] = {
        "progressPercentage": percent,
        "metrics": [
            {"name": name, "value": f"{value:.6g}" if isinstance(value, float) else str(value)}
            for name, value in metrics.items()
            if math.isfinite(value)
        ],
        "lastUpdatedTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if remaining_seconds is not None:
        status["estimatedRemainingSeconds"] = remaining_seconds
    return {"trainerStatus": status}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect: the token is for one server and is not carried anywhere else."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


class Poster:
    """Posts the newest snapshot from a thread; older ones that had no turn are dropped."""

    def __init__(self, environment: Mapping[str, str] = os.environ, interval: float = INTERVAL) -> None:
        self._url = environment.get(URL)
        self._ca, self._token = environment.get(CA_CERT), environment.get(TOKEN)
        self._interval = interval
        self._newest: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._wake, self._done = threading.Event(), threading.Event()
        self._complained = False
        self._thread = threading.Thread(target=self._work, name="progress", daemon=True)
        if self._url:
            self._thread.start()

    def update(self, snapshot: Snapshot) -> None:
        """Note the newest state; returns at once."""
        self.send(payload(snapshot, datetime.now(UTC)))

    def close(self, snapshot: Snapshot | None = None) -> None:
        """Post a last state as complete, if there is one, and end the thread; takes a few seconds at most."""
        if snapshot is not None:
            self.send(payload(snapshot, datetime.now(UTC), percent=100))
        self._done.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(2 * PATIENCE)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._try(self._take())
            if self._done.wait(self._interval):
                self._try(self._take())
                return

    def send(self, body: dict[str, Any]) -> None:
        """Post this soon, unless something newer comes; returns at once."""
        with self._lock:
            self._newest = body
        self._wake.set()

    def _take(self) -> dict[str, Any] | None:
        with self._lock:
            body, self._newest = self._newest, None
        return body

    def _try(self, body: dict[str, Any] | None) -> None:
        if body is None:
            return
        try:
            self._post(body)
            self._complained = False
        except (OSError, HTTPException, ValueError) as error:
            if not self._complained:
                reason = (
                    f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
                    if isinstance(error, HTTPError)
                    else str(error)
                )
                print(f"warning: progress could not be posted, the work goes on: {reason}", file=sys.stderr, flush=True)
            self._complained = True

    def _post(self, body: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = (
                f"Bearer {Path(self._token).read_text().strip()}"  # read each time: the kubelet rotates it
            )
        request = urllib.request.Request(str(self._url), strict_json.line(body).encode(), headers, method="POST")  # noqa: S310 (set by the operator)
        trust = ssl.create_default_context(cafile=self._ca) if self._ca else ssl.create_default_context()
        handlers = (urllib.request.HTTPSHandler(context=trust), urllib.request.ProxyHandler({}), _NoRedirect())
        with urllib.request.build_opener(*handlers).open(request, timeout=PATIENCE):
            pass
