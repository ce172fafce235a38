"""Run of a document on this machine: a process instead of pods, a folder instead of claims; the same calls."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from slipway.api.common.artifact import DESCRIPTION_FILE
from slipway.api.common.job_status import ArtifactStatus, Metric, Progress
from slipway.cli import local
from slipway.client.errors import ClientError, FailedError, MissingError, SpecError, UnreachableError, WaitTimeoutError
from slipway.client.prediction import Prediction, ask

LAST_LINES = 15
LOOK_SECONDS = 0.05
END_SECONDS = 60
"""Time for a program to save its state and leave, once told to."""


class LocalRun:
    """One document as a process of this machine."""

    def __init__(self, document: dict[str, Any], folder: Path, processes: int) -> None:
        """Start the process; what it says goes to a file in the folder. Raises SpecError."""
        self.document = document
        self.kind, self.name = str(document["kind"]), str(document["metadata"]["name"])
        self.folder = folder / self.name
        self.port = _free_port() if self.kind == "InferenceService" else 0
        more = ["--host", "127.0.0.1", "--port", str(self.port), "--grpc-port", "-1"] if self.port else []
        try:
            (step,) = local.steps([document], folder, processes, more)
        except local.NotLocalError as error:
            raise SpecError([str(error)]) from None
        self._log = folder / f"{self.kind.lower()}-{self.name}.log"
        environment = {**local.environment(), **step.env, "PYTHONUNBUFFERED": "1"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(step.argv, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def __repr__(self) -> str:
        """Name and state."""
        code = self._process.poll()
        return f"<{self.kind} {self.name} here: {'running' if code is None else f'ended with exit code {code}'}>"

    def refresh(self) -> Self:
        """Nothing to read anew: the process is asked each time."""
        return self

    def wait(self, timeout: float | None = None, on_change: Callable[[Self], None] | None = None) -> Self:
        """Wait until the process has ended well, or the server is ready; seconds.

        `on_change` is called once, at the end. Raises FailedError with the last lines of its log, WaitTimeoutError.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self._process.poll()) is None and not self._ready():
            if end is not None and time.monotonic() >= end:
                raise WaitTimeoutError(f"{self.kind} {self.name} is not ready after {timeout:g} s")
            time.sleep(LOOK_SECONDS)
        if code is not None and (code or self.port):
            said = "\n".join(self.logs(tail=LAST_LINES))
            raise FailedError(f"{self.kind} {self.name} ended with exit code {code}:\n{said}")
        if on_change is not None:
            on_change(self)
        return self

    def logs(self, *, follow: bool = False, tail: int | None = None, **unused: Any) -> Iterator[str]:
        """Lines that the process has written; with `follow` until it ends."""
        del unused
        if not follow:
            lines = self._log.read_text(errors="replace").splitlines()
            yield from lines[-tail:] if tail else lines
            return
        with self._log.open(errors="replace") as log:
            rest = ""
            while True:
                ended = self._process.poll() is not None
                while piece := log.readline():
                    rest += piece
                    if rest.endswith("\n"):
                        yield rest[:-1]
                        rest = ""
                if ended:
                    break
                time.sleep(LOOK_SECONDS)
            if rest:
                yield rest

    def progress(self) -> Progress | None:
        """Progress, which is None: on this machine the log tells it."""
        return None

    @property
    def artifact(self) -> ArtifactStatus | None:
        """The model that was published, with digest and figures; None before."""
        file = self.folder / DESCRIPTION_FILE
        try:
            text = file.read_bytes()
        except OSError:
            return None
        found = {str(name): value for name, value in (json.loads(text).get("metrics") or {}).items()}
        metrics = [Metric(name=name, value=str(value)) for name, value in found.items()]
        return ArtifactStatus(
            uri=str(self.folder), digest=f"sha256:{hashlib.sha256(text).hexdigest()}", metrics=metrics
        )

    def predict(
        self, inputs: Mapping[str, Any] | Any = None, *, key: str = "", timeout: float = 60, **more: Any
    ) -> Any:
        """Answer of the model; see InferenceService.predict. `timeout`: seconds."""
        if not self.port:
            raise SpecError([f"{self.kind} {self.name} serves nothing: use client.serve"])
        headers = {"X-Api-Key": key} if key else {}

        def here(method: str, path: str, body: bytes | None, kind: str) -> bytes:
            return ask(self.url + path, method, body, {**headers, "Content-Type": kind}, timeout)

        return Prediction(here, self.name).predict(inputs, **more)

    @property
    def url(self) -> str:
        """Address at which the server listens. Raises MissingError for a job."""
        if not self.port:
            raise MissingError(f"{self.kind} {self.name} has no address")
        return f"http://127.0.0.1:{self.port}"

    def delete(self) -> None:
        """Tell the process to end and wait for it; what it published stays."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def suspend(self) -> Self:
        """End the process; a job goes on from its checkpoint when the same call is made again."""
        self.delete()
        return self

    def _ready(self) -> bool:
        if not self.port:
            return False
        try:
            ask(f"{self.url}/v2/health/ready", "GET", None, {}, 1.0)
        except (UnreachableError, ClientError):
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
