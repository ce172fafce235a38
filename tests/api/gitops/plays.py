"""How a resource of each kind comes into each state that a GitOps tool must tell apart, on a real API server.

`Plays` is used twice: by the tests, which judge what they see at once, and by `record`, which keeps it in
manifests/argocd/testdata for tests without a server. A play returns the object as the server gave it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.api.operators import Operator
from tests.api.stage import Stage, condition
from tests.api.watching import watch
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Exit, Script

Object = dict[str, Any]
GROUP = "/apis/slipway.dev/v1alpha1"
ARTIFACT = {"uri": "pvc://models/digits", "digest": "sha256:" + "1" * 64}
KINDS = {
    "TrainingJob": "trainingjobs",
    "QuantizationJob": "quantizationjobs",
    "InferenceService": "inferenceservices",
    "SearchJob": "searchjobs",
}
_STAGES = ("export", "baseline", "calibrate", "quantize", "benchmark", "publish")


class Seen(NamedTuple):
    """A case by name, what Argo CD and kstatus have to say of it, and the object."""

    case: str
    argocd: str
    kstatus: str
    obj: Object


class Plays:
    """All plays, in one namespace with an operator and one without."""

    def __init__(self, stage: Stage, operator: Operator, namespace: str, unwatched: str) -> None:
        self.stage, self.operator, self.namespace, self.unwatched = stage, operator, namespace, unwatched

    def all(self) -> Iterator[Seen]:
        """The plays in an order in which later ones may use what earlier ones made; the last ends the operator."""
        self.operator.ready()
        yield from self._training()
        yield from self._quantization()
        yield from self._service()
        yield from self._unseen()
        yield from self._stale()

    def _training(self) -> Iterator[Seen]:
        self._make("TrainingJob", "trains", _training())
        running = self._until("TrainingJob", "trains", lambda s: _is(s, "Running"))
        yield Seen("trainingjob-progressing", "Progressing", "InProgress", running)
        self.stage.finish(self.namespace, "trains-node-0-a0", Exit(message=json.dumps({"artifact": ARTIFACT})))
        done = self._until("TrainingJob", "trains", lambda s: _is(s, "Succeeded"))
        yield Seen("trainingjob-healthy", "Healthy", "Current", done)
        self._make("TrainingJob", "fails", _training(failurePolicy={"maxRestarts": 0}))
        self.stage.finish(self.namespace, "fails-node-0-a0", Exit(code=1, message="no such file: train.py"))
        yield Seen("trainingjob-degraded", "Degraded", "Failed", self._until("TrainingJob", "fails", _failed))
        self._make("TrainingJob", "rests", _training(runPolicy={"suspend": True}))
        rests = self._until("TrainingJob", "rests", lambda s: _is(s, "Suspended"))
        yield Seen("trainingjob-suspended", "Suspended", "InProgress", rests)

    def _quantization(self) -> Iterator[Seen]:
        self._make("QuantizationJob", "waits", _quantization("nobody"))
        waits = self._until("QuantizationJob", "waits", lambda s: _reason(s, "Ready") == "WaitingForSource")
        yield Seen("quantizationjob-progressing", "Progressing", "InProgress", waits)
        self.stage.scripts["shrinks"] = stage_of
        self._make("QuantizationJob", "shrinks", _quantization("trains"))
        done = self._until("QuantizationJob", "shrinks", lambda s: _is(s, "Succeeded"))
        yield Seen("quantizationjob-healthy", "Healthy", "Current", done)
        self._make("QuantizationJob", "refused", _quantization("fails"))
        refused = self._until("QuantizationJob", "refused", _failed)
        yield Seen("quantizationjob-degraded", "Degraded", "Failed", refused)
        self._make("QuantizationJob", "sleeps", {**_quantization("trains"), "runPolicy": {"suspend": True}})
        sleeps = self._until("QuantizationJob", "sleeps", lambda s: _is(s, "Suspended"))
        yield Seen("quantizationjob-suspended", "Suspended", "InProgress", sleeps)

    def _service(self) -> Iterator[Seen]:
        self.stage.scripts["serves"] = lambda pod: Script(runs_for=None, starts_after=1.0)
        self._make("InferenceService", "serves", _service("shrinks"))
        rolling = self._until("InferenceService", "serves", lambda s: _reason(s, "Ready") == "RollingOut")
        yield Seen("inferenceservice-progressing", "Progressing", "InProgress", rolling)
        serving = self._until("InferenceService", "serves", lambda s: _is(s, "Ready"))
        yield Seen("inferenceservice-healthy", "Healthy", "Current", serving)
        self._make("InferenceService", "broken", _service("refused"))
        broken = self._until("InferenceService", "broken", lambda s: _is(s, "Stalled"))
        yield Seen("inferenceservice-degraded", "Degraded", "Failed", broken)
        self._make("InferenceService", "off", {**_service("shrinks"), "replicas": 0})
        off = self._until("InferenceService", "off", lambda s: _reason(s, "Ready") == "ScaledToZero")
        yield Seen("inferenceservice-suspended", "Suspended", "Current", off)

    def _unseen(self) -> Iterator[Seen]:
        """As created, before any operator saw it; and as on a server whose CRDs carry no default status."""
        specs = {"TrainingJob": _training(), "QuantizationJob": _quantization("x"), "InferenceService": _service("x")}
        for kind, spec in specs.items():
            seen = self._make(kind, "unseen", spec, self.unwatched)
            yield Seen(f"{kind.lower()}-unseen", "Progressing", "InProgress", seen)
            bare = copy.deepcopy(seen)
            bare.pop("status")
            # kstatus calls everything Current that says nothing: it is why the CRDs carry a default status.
            yield Seen(f"{kind.lower()}-no-status", "Progressing", "Current", bare)

    def _stale(self) -> Iterator[Seen]:
        """The operator is away while healthy resources are edited."""
        assert self.operator.stop() == 0
        edits = {
            ("TrainingJob", "trains"): {"runPolicy": {"ttlSecondsAfterFinished": 9999}},
            ("QuantizationJob", "shrinks"): {"runPolicy": {"ttlSecondsAfterFinished": 9999}},
            ("InferenceService", "serves"): {"replicas": 2},
        }
        for (kind, name), edit in edits.items():
            stale = self.stage.plane.client.patch(f"{self._path(kind)}/{name}", {"spec": edit})
            yield Seen(f"{kind.lower()}-stale", "Progressing", "InProgress", stale)

    def _make(self, kind: str, name: str, spec: Object, namespace: str = "") -> Object:
        body = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        try:
            return self.stage.plane.client.call("POST", self._path(kind, namespace), body)
        except ApiError as error:
            raise AssertionError(f"{kind} {name}: {error}") from error

    def _until(self, kind: str, name: str, holds: Callable[[Object], Any]) -> Object:
        path = self._path(kind)
        return watch(
            self.stage.plane.client,
            path,
            lambda all_: name in all_ and holds(all_[name].get("status") or {}),
            name=name,
            seconds=60,
        )[name]

    def _path(self, kind: str, namespace: str = "") -> str:
        return f"{GROUP}/namespaces/{namespace or self.namespace}/{KINDS[kind]}"


def _training(**more: Any) -> Object:
    recipe = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "epochs": 1, "globalBatchSize": 8}
    return {"recipe": recipe, "output": {"uri": ARTIFACT["uri"]}, **more}


def _quantization(source: str) -> Object:
    data = {"dataset": {"name": "digits"}}
    output = {"uri": "pvc://models/digits-int8"}
    return {"model": {"from": {"trainingJob": source}}, "calibration": data, "evaluation": data, "output": output}


def _service(source: str) -> Object:
    return {"predictor": {"model": {"from": {"quantizationJob": source}}}}


def stage_of(pod: Object) -> Script:
    """Each stage ends well and names the next one."""
    command = pod["spec"]["containers"][0]["command"]
    stage = command[command.index("--stage") + 1]
    later = _STAGES[_STAGES.index(stage) + 1 :]
    words: Object = {"stage": stage, "message": f"{stage} done"}
    if later:
        words["next"] = later[0]
    else:
        words |= {"outcome": "quantized", "selected": "int8", "artifact": {**ARTIFACT, "uri": "pvc://models/int8"}}
    return Script(exit=Exit(message=json.dumps(words)))


def _is(status: Object, kind: str) -> bool:
    mark = condition(status, kind)
    return mark is not None and mark["status"] == "True"


def _reason(status: Object, kind: str) -> str:
    mark = condition(status, kind)
    return str(mark["reason"]) if mark else ""


def _failed(status: Object) -> bool:
    return _is(status, "Failed")
