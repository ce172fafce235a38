"""Everything that the operator ever does, provoked in one namespace: each of its rights is needed at least once.

`begin` creates, `poke` goes on where something has become possible. Neither waits nor fails when the operator is
refused something: the tests say what has to come of it.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from tests.api.gitops.plays import ARTIFACT, GROUP, KINDS, stage_of
from tests.api.stage import PODS, Stage, condition
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Exit, Script

Object = dict[str, Any]
AUDIENCE = "slipway.dev/status"
_RECIPE = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "epochs": 1, "globalBatchSize": 8}
_SEARCH = {
    "template": {"recipe": _RECIPE, "output": {"uri": "pvc://models/search"}},
    "parameters": [{"path": "recipe.model.width", "int": {"min": 4, "max": 8, "step": 4}}],
    "objective": {"target": 0.5},
    "algorithm": "grid",
    "parallelTrials": 2,
}
TRAINED = {**ARTIFACT, "metrics": [{"name": "accuracy", "value": "0.9"}]}


def _labels(pod: Object) -> dict[str, str]:
    return dict(pod["metadata"]["labels"])


class Life:
    """One namespace full of it. `endpoint` is where the operator takes progress, `told` all that it answered there."""

    def __init__(self, stage: Stage, namespace: str, endpoint: str) -> None:
        self.stage, self.namespace, self.endpoint = stage, namespace, endpoint
        self.told = ""
        self._done: set[str] = set()

    def name(self, what: str) -> str:
        """Scripts know pods by the job's name alone, so names carry the namespace's number."""
        return f"{what}-{self.namespace.rsplit('-', 1)[-1]}"

    def begin(self) -> None:
        """Create everything at once."""
        self.stage.scripts |= {
            self.name("lives"): lambda pod: Script(exit=Exit(code=int(pod["metadata"]["name"].endswith("a0")))),
            self.name("source"): lambda _: Script(exit=Exit(message=json.dumps({"artifact": ARTIFACT}))),
            self.name("shrinks"): stage_of,
            f"{self.name('seeks')}-0": lambda _: Script(
                runs_for=1.0, exit=Exit(message=json.dumps({"artifact": TRAINED}))
            ),
            self.name("waits"): lambda _: Script(waiting="ContainerCreating"),
            self.name("serves"): lambda pod: Script(runs_for=None if "slipway.dev/job-uid" in _labels(pod) else 0.0),
        }
        # Their names are taken: the operator has to look at whose they are.
        self._foreign("configmaps", f"{self.name('taken')}-job")
        self._foreign("services", f"{self.name('taken')}-nodes", {"ports": [{"port": 1}]})
        self._foreign("pods", f"{self.name('held')}-node-0-a0", {"containers": [{"name": "c", "image": "x"}]})
        ending = {"runPolicy": {"ttlSecondsAfterFinished": 0, "cleanPodPolicy": "All"}}
        for what, more in (
            ("lives", ending),
            ("source", {}),
            ("taken", {}),
            ("held", {}),
            ("posts", {}),
            ("trains", {}),
            # Its pod is asked about while it does not start.
            ("waits", {"runPolicy": {"startupDeadlineSeconds": 5}}),
        ):
            self._make("TrainingJob", what, {"recipe": _RECIPE, "output": {"uri": ARTIFACT["uri"]}, **more})
        source = {"model": {"from": {"trainingJob": self.name("source")}}}
        data = {"calibration": {"dataset": {"name": "digits"}}, "evaluation": {"dataset": {"name": "digits"}}}
        output = {"output": {"uri": "pvc://models/int8"}}
        self._make("QuantizationJob", "shrinks", {**source, **data, **output, **ending})
        self._make("QuantizationJob", "works", {**source, **data, **output})
        # The first trial is good enough: the other one is suspended.
        self._make("SearchJob", "seeks", {**_SEARCH, "runPolicy": {"ttlSecondsAfterFinished": 0}})
        # Each revision has an engine built, and goes with what was built for it.
        engine = {"name": "auto", "cache": {"uri": "pvc://engines/cache"}}
        self._make("InferenceService", "serves", {"predictor": {**source, "engine": engine}})

    def poke(self) -> None:
        """Do what has become possible meanwhile; each thing once."""
        for what, kind in (("trains", "TrainingJob"), ("works", "QuantizationJob")):
            self._once(f"overtaken-{what}", lambda what=what, kind=kind: self._overtake(kind, what))
        self._once("posted", self._post)
        self._once("scaled", self._scale)
        self._once("replaced", self._replace)

    def finished(self) -> bool:
        """Whether all of it has come to its end."""
        return self._done >= {"overtaken-trains", "overtaken-works", "posted", "scaled", "replaced"} and not (
            self._there("TrainingJob", "lives")
            or self._there("QuantizationJob", "shrinks")
            or self._there("SearchJob", "seeks")
            or self._revisions() != 1
        )

    def statuses(self) -> str:
        """What the operator says to people, all of it."""
        client = self.stage.plane.client
        found = [client.get(self._path(kind))["items"] for kind in KINDS]
        return json.dumps([item.get("status") for items in found for item in items])

    def _overtake(self, kind: str, what: str) -> None:
        """A pod of an attempt that the status does not know: as if another operator had been faster."""
        owner = self._get(kind, what)
        assert condition(owner["status"], "Running")
        pods = self.stage.plane.client.get(
            f"{PODS.format(self.namespace)}?labelSelector=slipway.dev%2Fjob-name%3D{self.name(what)}"
        )
        metadata = pods["items"][0]["metadata"]
        labels = {**metadata["labels"], "slipway.dev/attempt": "3"}
        name = f"{metadata['name'].rpartition('-a')[0]}-a3"
        body = {"name": name, "labels": labels, "ownerReferences": metadata["ownerReferences"]}
        spec = {"containers": [{"name": "c", "image": "x"}]}
        self.stage.plane.client.call("POST", PODS.format(self.namespace), {"metadata": body, "spec": spec})

    def _post(self) -> None:
        """A pod reports progress with its own token."""
        name = f"{self.name('posts')}-node-0-a0"
        pod = self.stage.plane.client.get(f"{PODS.format(self.namespace)}/{name}")
        token = self.stage.plane.token(self.namespace, "default", [AUDIENCE], pod=pod)
        report = {"progressPercentage": 7, "lastUpdatedTime": "2026-08-21T10:00:00Z"}
        body = json.dumps({"trainerStatus": report}).encode()
        url = f"{self.endpoint}{self._path('TrainingJob')}/{self.name('posts')}/status"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        trust = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), context=trust, timeout=10):
                return
        except urllib.error.HTTPError as error:
            self.told = error.read().decode()
            raise

    def _scale(self) -> None:
        service = self._get("InferenceService", "serves")
        assert condition(service["status"], "Ready")["status"] == "True"  # type: ignore[index]
        self._edit("serves", {"replicas": 2})

    def _replace(self) -> None:
        service = self._get("InferenceService", "serves")
        assert service["status"]["readyReplicas"] == 2
        self._edit("serves", {"predictor": {"batching": {"maxBatchSize": 8}}})

    def _revisions(self) -> int:
        return len(self.stage.plane.client.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")["items"])

    def _once(self, what: str, do: Any) -> None:
        if what in self._done:
            return
        with contextlib.suppress(ApiError, AssertionError, KeyError, IndexError, TypeError, OSError):
            do()
            self._done.add(what)

    def _make(self, kind: str, what: str, spec: Object) -> None:
        body = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": self.name(what)}, "spec": spec}
        self.stage.plane.client.call("POST", self._path(kind), body)

    def _edit(self, what: str, spec: Object) -> None:
        self.stage.plane.client.patch(f"{self._path('InferenceService')}/{self.name(what)}", {"spec": spec})

    def _get(self, kind: str, what: str) -> Object:
        return self.stage.plane.client.get(f"{self._path(kind)}/{self.name(what)}")

    def _there(self, kind: str, what: str) -> bool:
        return self.stage.exists(f"{self._path(kind)}/{self.name(what)}")

    def _foreign(self, plural: str, name: str, spec: Object | None = None) -> None:
        body: Object = {"metadata": {"name": name}} | ({"spec": spec} if spec else {})
        self.stage.plane.client.call("POST", f"/api/v1/namespaces/{self.namespace}/{plural}", body)

    def _path(self, kind: str) -> str:
        return f"{GROUP}/namespaces/{self.namespace}/{KINDS[kind]}"
