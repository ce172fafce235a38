"""MLflow: one run for the job, found again by the job's uid after a restart. Its client works in a thread of its own.

Bounded in all ways: figures that wait, seconds of a request, tries. What cannot get better (credentials, an experiment
that was deleted) is not tried again. Parameters and tags are cut to the lengths that old servers take.
"""

import contextlib
import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from slipway.api.training.learning.tracking import Mlflow
from workloads.train.tracking import scalars
from workloads.train.tracking.tracker import Run, warn

UID = "slipway.uid"
MOST_WAITING, MOST_TOGETHER = 10_000, 500
LONGEST_PARAMETER, LONGEST_TAG, MOST_PARAMETERS = 500, 5000, 100
REQUEST_SECONDS = 10
PAUSES = (1.0, 5.0, 20.0, 60.0)  # seconds after a failure, the last one for ever
FINAL = frozenset({400, 401, 403, 404, 405})
_CLIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # its own would go on for minutes; ours are between batches
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",  # credentials are for one server
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

Point = tuple[str, float, int, int]  # name, value, milliseconds, step


class MlflowRun:
    """Tracker that sends figures to a server, in batches."""

    def __init__(self, choice: Mlflow, run: Run) -> None:
        self._choice, self._run = choice, run
        self._waiting: deque[Point] = deque()
        self._lock = threading.Lock()
        self._wake, self._done = threading.Event(), threading.Event()
        self._state, self._tags = "FINISHED", dict[str, str]()
        self._id: str | None = None
        self._known = dict[str, int]()
        self._again = False
        self._client: Any = None
        self.lost, self._failures = 0, 0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep some figures of a step until they are sent; the oldest give way when too many wait."""
        now = int(time.time() * 1000)
        with self._lock:
            self._waiting.extend((name, value, now, step) for name, value in values.items())
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self.lost += 1
        self._wake.set()

    def end(self, state: str, tags: Mapping[str, str], patience: float) -> None:
        """Send what waits, then how the run ended. What is not sent in time is given up."""
        self._state, self._tags = state, dict(tags)
        self._done.set()
        self._wake.set()
        self._thread.join(patience)
        with self._lock:
            left = len(self._waiting)
            self.lost += left
            self._waiting.clear()
        if left:
            warn(f"MLflow did not take {left} figures within {patience:.0f} s, they are given up")

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            ending = self._done.is_set()
            try:
                self._send()
                if ending:
                    self._close()
                    return
                self._failures = 0
            except Exception as error:  # the client's own, requests', and what a wrong server makes of them
                if not self._goes_on(error) or ending:
                    return
                self._done.wait(PAUSES[min(self._failures, len(PAUSES)) - 1])
                self._wake.set()

    def _goes_on(self, error: Exception) -> bool:
        """Tell whether another try may help; say it once either way."""
        self._failures += 1
        code = getattr(error, "get_http_status_code", lambda: 0)()
        final = isinstance(error, ImportError) or code in FINAL
        words = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        if final:
            with self._lock:
                self.lost += max(1, len(self._waiting))
                self._waiting = deque(maxlen=0)
            warn(f"MLflow at {self._choice.uri} will get nothing, the training goes on: {words}")
        elif self._failures == 1:
            warn(f"MLflow at {self._choice.uri} is tried again, the training goes on: {words}")
        return not final

    def _send(self) -> None:
        if self._id is None:
            self._id = self._open()
        while True:
            with self._lock:
                some = [self._waiting[number] for number in range(min(len(self._waiting), MOST_TOGETHER))]
            if not some:
                return
            # The first of each: rows from before a restart and its own evaluation may wait side by side.
            once = {(point[0], point[3]): point for point in reversed(some)}
            new = [point for point in reversed(once.values()) if point[3] > self._last_step(point[0])]
            if new:
                metric = importlib.import_module("mlflow.entities").Metric
                self._client.log_batch(self._id, metrics=[metric(*point) for point in new])
                self._known |= {point[0]: point[3] for point in new}
            with self._lock:
                for point in some:
                    if self._waiting and self._waiting[0] is point:  # else it has given way meanwhile
                        self._waiting.popleft()

    def _last_step(self, name: str) -> int:
        """Last step of which a figure was sent, by this process or one before: what came after a checkpoint comes
        again, and so does the evaluation of a run that has nothing left to train.
        """
        if not self._again:
            return self._known.get(name, -1)
        if name not in self._known:
            sent = self._client.get_metric_history(self._id, name)
            self._known[name] = max((point.step for point in sent), default=-1)
        return self._known[name]

    def _open(self) -> str:
        """The job's run, found or made. Returns its id."""
        for name, value in _CLIENT.items():
            os.environ.setdefault(name, value)
        mlflow = importlib.import_module("mlflow")  # seconds: here, and not where the training waits
        self._client = mlflow.MlflowClient(tracking_uri=self._choice.uri)
        experiment = self._experiment(mlflow)
        if self._run.uid is not None:
            found = self._client.search_runs([experiment], f"tags.`{UID}` = '{self._run.uid}'", max_results=1)
            if found:
                self._again = True
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                return str(found[0].info.run_id)
        tags = {UID: self._run.uid, **self._run.tags} if self._run.uid is not None else dict(self._run.tags)
        made = self._client.create_run(experiment, tags=_cut(tags), run_name=self._run.name)
        entity = importlib.import_module("mlflow.entities").Param
        settings = list(scalars.flattened(self._run.settings))[:MOST_PARAMETERS]
        self._client.log_batch(
            made.info.run_id, params=[entity(name, value[:LONGEST_PARAMETER]) for name, value in settings]
        )
        return str(made.info.run_id)

    def _experiment(self, mlflow: Any) -> str:
        found = self._client.get_experiment_by_name(self._choice.experiment)
        if found is None:
            # Another job may make it between the two.
            with contextlib.suppress(mlflow.exceptions.MlflowException):
                return str(self._client.create_experiment(self._choice.experiment))
            found = self._client.get_experiment_by_name(self._choice.experiment)
        if found is None:
            raise ConnectionError(f"the experiment {self._choice.experiment} can be neither found nor made")
        return str(found.experiment_id)

    def _close(self) -> None:
        for name, value in _cut(self._tags).items():
            self._client.set_tag(self._id, name, value)
        self._client.set_terminated(self._id, status=self._state)


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:LONGEST_TAG] for name, value in tags.items()}
