"""SearchJobs on the stage: trials whose pods end as their parameters say. Used by tests only."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.api.stage import Object, Stage
from tests.cluster.scripted.script import Exit, Script
from tests.unit.searchjob.refusals import RIGHT

SEARCHES = "/apis/slipway.dev/v1alpha1/namespaces/{}/searchjobs"
TRIALS = "/apis/slipway.dev/v1alpha1/namespaces/{}/trainingjobs"
KEY = "p50Milliseconds-onnxruntime-1"


class Searches:
    """The kind's words; `stage` is what all kinds share."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.client = stage.plane.client

    def create(self, namespace: str, name: str, *, runs_for: float | None = 0.05, **spec: Any) -> None:
        """A search of a grid of 4 widths: 2 ms is a width of 8, and the wider a model the better it is."""

        def measured(pod: Object) -> Script:
            args = pod["spec"]["containers"][0]["args"]
            figures = {KEY: json.loads(args[1])["recipe.model.width"] / 4}
            return Script(runs_for=0.05, exit=Exit(message=json.dumps({"figures": figures})))

        def trained(number: int) -> Script:
            metrics = [{"name": "accuracy", "value": str(0.9 + number / 1000)}]
            uri = f"{RIGHT['template']['output']['uri']}/{name}-{number}"
            artifact = {"uri": uri, "digest": f"sha256:{'1' * 64}", "metrics": metrics}
            return Script(runs_for=runs_for, exit=Exit(message=json.dumps({"artifact": artifact})))

        self.stage.scripts[name] = measured
        for number in range(8):
            self.stage.scripts[f"{name}-{number}"] = lambda _, number=number: trained(number)
        parameters = [{"path": "recipe.model.width", "int": {"min": 4, "max": 16, "step": 4}}]
        whole = {**RIGHT, "algorithm": "grid", "parameters": parameters, "parallelTrials": 2, "maxTrials": 4, **spec}
        body = {"apiVersion": "slipway.dev/v1alpha1", "kind": "SearchJob", "metadata": {"name": name}, "spec": whole}
        self.client.call("POST", SEARCHES.format(namespace), body)

    def until(self, namespace: str, name: str, holds: Any, seconds: float = 60) -> Object:
        return self.stage.until_status(SEARCHES.format(namespace), name, holds, seconds)

    def edit(self, namespace: str, name: str, **spec: Any) -> None:
        self.client.patch(f"{SEARCHES.format(namespace)}/{name}", {"spec": spec})

    def made(self, namespace: str, name: str) -> Counter[str]:
        """How often each trial was made."""
        return Counter(
            event["objectRef"]["name"]
            for event in self.stage.requests(f"/namespaces/{namespace}/trainingjobs")
            if event["verb"] == "create"
            and event.get("responseStatus", {}).get("code") == 201
            and event["objectRef"].get("name", "").startswith(f"{name}-")
        )
