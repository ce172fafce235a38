"""A cluster in memory for one SearchJob: plans are carried out as execute.py does, and may be cut off at any write."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.reconcile.plan import Plan
from slipway.runtime.client.resource import PODS, name_of
from slipway.searchjob import plan as planning
from slipway.searchjob.job import Platform
from slipway.searchjob.sampler import answer
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.searchjob.refusals import RIGHT

Object = dict[str, Any]
Outcome = float | str
"""What a training comes to: its accuracy, or the words that it fails with."""
PLATFORM = Platform("quantizer")
DIGEST = "sha256:" + "1" * 64


class KilledError(Exception):
    """The operator ends here."""


def width_of(spec: Object) -> int:
    return int(spec["recipe"]["model"]["width"])


def by_width(spec: Object) -> Outcome:
    """A wider model is better, and a little worse with adamw."""
    worse = 0.001 if spec["recipe"]["optimizer"]["name"] == "adamw" else 0
    return 0.9 + width_of(spec) / 1000 - worse


class World:
    """The search, its trials and its pods. `trains`: what a trial's spec comes to; `measures`: its milliseconds."""

    def __init__(
        self,
        trains: Callable[[Object], Outcome] = by_width,
        measures: Callable[[Object], float] = lambda values: values["recipe.model.width"] / 10,
        **spec: Any,
    ) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.trains, self.measures = trains, measures
        whole = {**copy.deepcopy(RIGHT), "algorithm": "random", "maxTrials": 6, "parallelTrials": 2, **spec}
        metadata = {"name": "s", "namespace": "team", "uid": "s-1", "generation": 1}
        self.job: Object = {"metadata": metadata, "spec": whole, "status": {"observedGeneration": -1}}
        self.trials: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.made: Counter[str] = Counter()
        self.events: list[str] = []
        self.writes = 0
        self.killed_at: int | None = None

    @property
    def status(self) -> Object:
        return self.job["status"]

    def condition(self, kind: str) -> Object:
        return next((one for one in self.status["conditions"] if one["type"] == kind), {})

    def look(self) -> Plan:
        """One look, carried out."""
        self.now += timedelta(seconds=1)
        seen = planning.look(self.job, list(self.trials.values()), list(self.pods.values()), PLATFORM, self.now)
        decided = seen if isinstance(seen, Plan) else planning.plan(seen, self._chosen(seen))
        if decided.persist_first:
            self._persist(decided)
        for delete in decided.deletes:
            self._write(lambda delete=delete: self.pods.pop(delete.name, None))
        for patch in decided.patches:
            self._write(lambda patch=patch: self._patch(patch.name, patch.body))
        for write in decided.writes:
            self._write(lambda write=write: self._create(write.resource, write.manifest))
        if not decided.persist_first:
            self._persist(decided)
        return decided

    def _chosen(self, seen: planning.Look) -> list[Any]:
        count = planning.wanted(seen)
        trials = [record.wire() for record in seen.records]
        return answer({"spec": self.job["spec"], "trials": trials, "count": count}) if count else []

    def _persist(self, decided: Plan) -> None:
        if decided.status is not None and decided.status != self.status:

            def put() -> None:
                self.job["status"] = json.loads(json.dumps(decided.status))
                self.events += [notice.message for notice in decided.notices]

            self._write(put)

    def _write(self, do: Callable[[], Any]) -> None:
        self.writes += 1
        do()
        if self.writes == self.killed_at:
            raise KilledError

    def _create(self, resource: Any, manifest: Object) -> None:
        kept = {TRAINING_JOBS: self.trials, PODS: self.pods}.get(resource)
        name = name_of(manifest)
        if kept is None or name in kept:
            return
        self.made[name] += 1
        body = json.loads(json.dumps(manifest))
        body["metadata"] |= {"uid": f"{name}-{self.made[name]}", "generation": 1}
        kept[name] = body

    def _patch(self, name: str, body: Object) -> None:
        spec = self.trials[name]["spec"]
        spec["runPolicy"] = {**spec.get("runPolicy", {}), **body["spec"]["runPolicy"]}

    # What nodes and the TrainingJobs' own controller do.

    def go_on(self) -> None:
        """Everything that was asked for ends; what is suspended does not."""
        for pod in self.pods.values():
            args = pod["spec"]["containers"][0]["args"]
            values, keys = json.loads(args[1]), [f"{one['metric']}-onnxruntime-1" for one in json.loads(args[3])]
            words = json.dumps({"figures": dict.fromkeys(keys, self.measures(values))})
            self.end_pod(pod, 0, words)
        for trial in self.trials.values():
            if not trial["spec"].get("runPolicy", {}).get("suspend"):
                self.end(trial, self.trains(trial["spec"]))

    @staticmethod
    def end_pod(pod: Object, code: int, words: str) -> None:
        state = {"terminated": {"exitCode": code, "message": words, "reason": "Error" if code else "Completed"}}
        containers = [{"name": "quantizer", "state": state}]
        pod["status"] = {"phase": "Failed" if code else "Succeeded", "containerStatuses": containers}

    def end(self, trial: Object, outcome: Outcome) -> None:
        if (trial.get("status") or {}).get("completionTime"):
            return
        failed = isinstance(outcome, str)
        mark = {"type": "Failed" if failed else "Succeeded", "status": "True", "reason": "R", "message": str(outcome)}
        status = {"conditions": [mark], "completionTime": "2026-01-01T00:00:00Z"}
        if not failed:
            metrics = [{"name": "accuracy", "value": str(outcome)}]
            status["artifact"] = {"uri": trial["spec"]["output"]["uri"], "digest": DIGEST, "metrics": metrics}
        trial["status"] = status

    @staticmethod
    def report(trial: Object, percent: int, accuracy: float) -> None:
        metrics = [{"name": "accuracy", "value": str(accuracy)}]
        trial["status"] = {"conditions": [], "progress": {"percent": percent, "metrics": metrics}}

    def run(self, looks: int = 200) -> Object:
        """Look and let everything end, until the search has; whoever is killed looks again. Returns the status."""
        for _ in range(looks):
            try:
                self.look()
            except KilledError:
                continue
            if self.status.get("completionTime"):
                self.look()
                return self.status
            self.go_on()
        raise AssertionError(f"no end: {self.status}")

    def states(self) -> dict[int, str]:
        return {one["number"]: one["state"] for one in self.status.get("trials") or []}
