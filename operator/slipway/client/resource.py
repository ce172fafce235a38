"""Resources of a cluster as a program holds them: state, wait, logs, suspend, delete; and requests of a service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from slipway.api.codegen.crd import KINDS
from slipway.api.common.base import StatusModel
from slipway.api.common.job_status import ArtifactStatus, Progress
from slipway.api.quantization.status import QuantizationJobStatus
from slipway.api.search.status import SearchJobStatus
from slipway.api.serving.status import InferenceServiceStatus
from slipway.api.training.status import TrainingJobStatus
from slipway.cli.views.verdict import Exit, headline, verdict
from slipway.client.errors import FailedError, MissingError, SpecError, WaitTimeoutError
from slipway.client.prediction import Prediction, ask
from slipway.reconcile import labels

if TYPE_CHECKING:
    from slipway.client.connection import Connection

Object = dict[str, Any]
S = TypeVar("S", bound=StatusModel)
LOOK_SECONDS = 60
"""Longest time that one watch is relied on: proxies end silent connections without a word."""


class Resource(Generic[S]):
    """One object of Slipway's in a cluster, as it was when last read."""

    def __init__(self, connection: Connection, document: Object) -> None:
        """Hold an object as the server gave it."""
        self._connection = connection
        self.document = document
        self._kind = next(kind for kind in KINDS if kind.kind == document["kind"])

    def __repr__(self) -> str:
        """Name, and what the condition Ready says."""
        return f"<{self.kind} {self.name}: {headline(self.document)}>"

    @property
    def kind(self) -> str:
        """Kind of the object."""
        return self._kind.kind

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.document["metadata"]["name"])

    @property
    def status(self) -> S:
        """Status as it was when last read."""
        model = self._kind.status or StatusModel
        return cast("S", model.model_validate(self.document.get("status") or {}))

    def refresh(self) -> Self:
        """Read the object anew. Raises MissingError."""
        self.document = self._connection.get(self._kind.plural, self.name)
        return self

    def wait(self, timeout: float | None = None, on_change: Callable[[Self], None] | None = None) -> Self:
        """Wait until the job has succeeded or the service is ready; seconds, for ever when unset.

        `on_change` is called with this object at each change. Raises FailedError with the words of the condition and of
        the last failure, MissingError once the object is deleted, WaitTimeoutError.
        """
        end = None if timeout is None else time.monotonic() + timeout
        for _ in self._states(end):
            if on_change is not None:
                on_change(self)
            state = verdict(self.document)
            if state is Exit.READY:
                return self
            if state is Exit.FAILED:
                raise FailedError(f"{self.kind} {self.name}: {self._why()}")
        raise WaitTimeoutError(f"{self.kind} {self.name} is not ready after {timeout:g} s: {headline(self.document)}")

    def logs(
        self, *, follow: bool = False, pod: str = "", container: str | None = None, tail: int | None = None
    ) -> Iterator[str]:
        """Lines of a pod's log, of the newest attempt's first pod unless named. Raises MissingError without pods."""
        names = [found["metadata"]["name"] for found in self.pods()]
        if not names or (pod and pod not in names):
            have = f"; it has {', '.join(names)}" if names else " yet"
            raise MissingError(f"{self.kind} {self.name} has no pod {pod}{have}".replace(" pod yet", " pods yet"))
        return self._connection.log(pod or names[0], container, follow=follow, tail=tail)

    def pods(self) -> list[Object]:
        """Pods of the object, newest attempt first, as JSON."""
        found = self._connection.pods(f"{labels.JOB_UID}={self.document['metadata']['uid']}")
        return sorted(found, key=lambda pod: (-_attempt(pod), pod["metadata"]["name"]))

    def suspend(self) -> Self:
        """End the job's pods and keep the job."""
        return self._patch({"runPolicy": {"suspend": True}})

    def resume(self) -> Self:
        """Let a suspended job go on."""
        return self._patch({"runPolicy": {"suspend": False}})

    def delete(self) -> None:
        """Delete the object and what it made; what it published stays."""
        self._connection.delete(self._kind.plural, self.name)

    def _patch(self, change: Object) -> Self:
        self.document = self._connection.patch(self._kind.plural, self.name, {"spec": change})
        return self

    def _states(self, end: float | None) -> Iterator[None]:
        """Read the object anew at each change, until `end`."""
        uid = self.document["metadata"]["uid"]
        while True:
            self.refresh()
            if self.document["metadata"]["uid"] != uid:
                raise MissingError(f"{self.kind} {self.name} was deleted, and another one has its name")
            yield
            left = LOOK_SECONDS if end is None else end - time.monotonic()
            if left <= 0:
                return
            version = self.document["metadata"]["resourceVersion"]
            for state in self._connection.changes(self._kind.plural, self.name, version, max(1, min(60, int(left)))):
                if not state or state["metadata"]["uid"] != uid:
                    raise MissingError(f"{self.kind} {self.name} was deleted")
                self.document = state
                yield

    def _why(self) -> str:
        words = headline(self.document)
        failure = (self.document.get("status") or {}).get("lastFailure") or {}
        if not failure:
            return words
        code = f", exit code {failure['exitCode']}" if "exitCode" in failure else ""
        return f"{words} (pod {failure.get('pod')}: {failure.get('reason')}{code}: {failure.get('message', '')})"


class _Job(Resource[S]):
    """Resource with an end."""

    @property
    def artifact(self) -> ArtifactStatus | None:
        """The model that it published, with digest and figures; None before."""
        return cast("ArtifactStatus | None", getattr(self.status, "artifact", None))

    def progress(self) -> Progress | None:
        """Progress of the resource, read anew; None before the first report."""
        return cast("Progress | None", getattr(self.refresh().status, "progress", None))


class TrainingJob(_Job[TrainingJobStatus]):
    """TrainingJob of a cluster."""


class QuantizationJob(_Job[QuantizationJobStatus]):
    """QuantizationJob of a cluster."""


class SearchJob(_Job[SearchJobStatus]):
    """SearchJob of a cluster."""


class InferenceService(Resource[InferenceServiceStatus]):
    """InferenceService of a cluster."""

    def suspend(self) -> Self:
        """Refuse: services are not suspended."""
        raise SpecError(["an InferenceService is not suspended: delete it, or scale it to zero by autoScaling"])

    resume = suspend

    def predict(
        self,
        inputs: Mapping[str, Any] | Any = None,
        *,
        url: str = "",
        key: str = "",
        timeout: float = 60,
        **more: Any,
    ) -> Any:
        """Answer of the model: outputs by name; see Prediction for inputs, `texts` and `image`.

        By the API server's proxy, which needs the right `create` on `services/proxy`, or by `url` where the service can
        be reached. `key`: of `auth.secretRef`. `timeout`: seconds of each request.
        """
        headers = {"X-Api-Key": key} if key else {}

        def by_proxy(method: str, path: str, body: bytes | None, kind: str) -> bytes:
            secure = "https:" if (self.document["spec"]["predictor"].get("tls")) else ""
            port = "https" if secure else "http"
            base = f"/api/v1/namespaces/{self._connection.namespace}/services/{secure}{self.name}:{port}/proxy"
            known = {**headers, "Content-Type": kind, "Accept": "application/json"}
            return self._connection.request(method, base + path, body, known, timeout)

        def by_url(method: str, path: str, body: bytes | None, kind: str) -> bytes:
            return ask(url.rstrip("/") + path, method, body, {**headers, "Content-Type": kind}, timeout)

        return Prediction(by_url if url else by_proxy, self.name).predict(inputs, **more)


def held(connection: Connection, document: Object) -> TrainingJob | QuantizationJob | InferenceService | SearchJob:
    """The object by its kind."""
    known = (TrainingJob, QuantizationJob, InferenceService, SearchJob)
    kinds = {kind.__name__: kind for kind in known}
    return kinds[document["kind"]](connection, document)


def _attempt(pod: Object) -> int:
    text = (pod["metadata"].get("labels") or {}).get(labels.ATTEMPT, "0")
    return int(text) if text.isdigit() else 0
