"""QuantizationJobs on the stage: create, edit, wait; and TrainingJobs that have made something. Used by tests only."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.api.quantizationjob.acts import SOURCE_DIGEST
from tests.api.stage import JOBS as TRAINING_JOBS
from tests.api.stage import PODS, Object, Stage, condition, marked
from tests.cluster.scripted.script import Exit, Script

JOBS = "/apis/slipway.dev/v1alpha1/namespaces/{}/quantizationjobs"
SPEC: Object = {
    "model": {"uri": "pvc://models/digits", "digest": SOURCE_DIGEST},
    "calibration": {"dataset": {"name": "digits"}},
    "evaluation": {"dataset": {"name": "digits"}},
    "output": {"uri": "pvc://models/int8"},
}


class Jobs:
    """The kind's words; `stage` is what all kinds share."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.client = stage.plane.client

    def create(self, namespace: str, name: str, script: Callable[[Object], Script], **spec: Any) -> Object:
        """A job whose pods follow the script; fields of `spec` replace the defaults."""
        self.stage.scripts[name] = script
        body = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "QuantizationJob",
            "metadata": {"name": name},
            "spec": {**SPEC, **spec},
        }
        return self.client.call("POST", JOBS.format(namespace), body)

    def edit(self, namespace: str, name: str, **spec: Any) -> Object:
        return self.client.patch(f"{JOBS.format(namespace)}/{name}", {"spec": spec})

    def get(self, namespace: str, name: str) -> Object:
        return self.client.get(f"{JOBS.format(namespace)}/{name}")

    def delete(self, namespace: str, name: str) -> None:
        self.stage.delete(JOBS.format(namespace), name)

    def until(self, namespace: str, name: str, holds: Callable[[Object], Any], seconds: float = 30) -> Object:
        """Wait until the status satisfies `holds`; returns the status."""
        return self.stage.until_status(JOBS.format(namespace), name, holds, seconds)

    def until_condition(
        self, namespace: str, name: str, kind: str, status: str = "True", reason: str = "", seconds: float = 30
    ) -> Object:
        """Wait for one condition; returns the status."""
        return self.until(namespace, name, partial(marked, kind=kind, value=status, reason=reason), seconds)

    def until_stage(self, namespace: str, name: str, stage: str, seconds: float = 30) -> Object:
        """Wait until all pods of a stage run, and the status says so."""
        return self.until(
            namespace,
            name,
            lambda s: s.get("stage") == stage and s.get("runningTime") and marked(s, "Running"),
            seconds,
        )

    def pods(self, namespace: str, name: str) -> list[str]:
        """Names of the job's pods that are there now."""
        found = self.client.get(f"{PODS.format(namespace)}?labelSelector=slipway.dev/job-name={name}")["items"]
        return sorted(pod["metadata"]["name"] for pod in found)

    def made(self, namespace: str, name: str) -> list[str]:
        """Every pod that the operator has made for a job, in that order; twice if it was made twice."""
        return [
            event["objectRef"]["name"]
            for event in self.stage.requests(f"/namespaces/{namespace}/pods")
            if event["verb"] == "create"
            and event.get("responseStatus", {}).get("code") == 201
            and re.fullmatch(rf"{name}-\d+-\d+-a\d+", event["objectRef"].get("name", ""))
        ]

    def train(self, namespace: str, name: str, how: Exit | None = None, **spec: Any) -> None:
        """A TrainingJob of one pod, which runs on, or ends at once as told."""
        self.stage.scripts[name] = lambda pod: Script(runs_for=None if how is None else 0.05, exit=how or Exit())
        self.stage.create(namespace, name, **spec)

    def train_delete(self, namespace: str, name: str) -> None:
        self.stage.delete(TRAINING_JOBS.format(namespace), name)


def mark(status: Object, kind: str) -> tuple[str, str]:
    """A condition's status and reason."""
    found = condition(status, kind) or {}
    return found.get("status", ""), found.get("reason", "")


def message(status: Object, kind: str) -> str:
    """A condition's message."""
    return str((condition(status, kind) or {}).get("message", ""))
