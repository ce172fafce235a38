"""Search under a latency limit, beside random search and beside training all and filtering afterwards, at equal budget.

    python -m tests.perf.training.search_bench --seeds 5 --budget 8 --limit 0.03 --out tests/perf/results/search.json

Each way trains as many models as the budget says, with the trainer's own command, on digits; latency is measured by
`bench untrained`, as a SearchJob's pods do. The result of a way is the best accuracy among its models within the limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slipway.api.search import paths
from slipway.api.search.searchjob import SearchJobSpec
from slipway.api.search.status import TrialState
from slipway.searchjob.record import Record
from slipway.searchjob.sampler import suggest
from tests.perf import machine

TEMPLATE: dict[str, Any] = {
    "launcher": "plain",
    "numProcPerNode": 1,
    "recipe": {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "epochs": 2, "globalBatchSize": 64},
    "output": {"uri": "pvc://models/search"},
}
PARAMETERS = [
    {"path": "recipe.model.width", "int": {"min": 4, "max": 96, "log": True}},
    {"path": "recipe.optimizer.learningRate", "float": {"min": 0.002, "max": 0.5, "log": True}},
    {"path": "recipe.optimizer.name", "categorical": ["sgd", "adamw"]},
]
WAYS = {"constrained": ("tpe", True), "random": ("random", False), "train all and filter": ("tpe", False)}
# A limit that next to nothing is within is told, and not searched for ever.
MOST_MEASURED = 8


class Workbench:
    """Commands of the pods, on this machine, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._measured: dict[str, float] = {}

    def milliseconds(self, values: Mapping[str, paths.Value], constraint: Mapping[str, Any]) -> float:
        """Median latency of the untrained model; of one architecture once, for all ways alike."""
        key = str(values["recipe.model.width"])
        if key not in self._measured:
            config = self._config("measured", {})
            options = ["--set", json.dumps(dict(values)), "--measure", json.dumps([dict(constraint)])]
            out = self._run("bench", "untrained", "--config", str(config), *options)
            self._measured[key] = next(iter(json.loads(out.splitlines()[-1])["figures"].values()))
        return self._measured[key]

    def accuracy(self, values: Mapping[str, paths.Value], seed: int) -> float:
        """Accuracy of the model, trained."""
        config = self._config("trained", {**values, "recipe.seed": seed})
        output = self._folder / "artifact"
        self._run("train", "--config", str(config), "--output", str(output))
        return float(json.loads((output / "artifact.json").read_text())["metrics"]["accuracy"])

    def _config(self, name: str, values: Mapping[str, paths.Value]) -> Path:
        document = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
        path = self._folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**document, "spec": paths.put_all(TEMPLATE, dict(values))}))
        return path

    @staticmethod
    def _run(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "workloads", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words[:2])}: {done.stderr[-2000:]}")
        return done.stdout


def search(bench: Workbench, way: str, seed: int, budget: int, limit: float) -> dict[str, Any]:
    """One way with one seed: what it trained, and the best within the limit."""
    algorithm, constrained = WAYS[way]
    constraint = {"metric": "p50Milliseconds", "max": limit}
    spec = SearchJobSpec.model_validate(
        {
            "template": TEMPLATE,
            "parameters": PARAMETERS,
            "constraints": [constraint] if constrained else [],
            "algorithm": algorithm,
            "maxTrials": budget * MOST_MEASURED,
            "seed": seed,
        }
    )
    records: list[Record] = []
    trained: list[dict[str, float]] = []
    while len(trained) < budget and len(records) < budget * MOST_MEASURED:
        values = suggest(spec, records, 1)[0]
        took = bench.milliseconds(values, constraint)
        figures = {spec.constraints[0].key: took} if constrained else {}
        if constrained and took > limit:
            records.append(Record(len(records), TrialState.PRUNED, values, figures=figures))
            continue
        accuracy = bench.accuracy(values, seed)
        trained.append({"milliseconds": took, "accuracy": accuracy, "width": float(values["recipe.model.width"])})
        records.append(Record(len(records), TrialState.SUCCEEDED, values, accuracy, figures))
    within = [one["accuracy"] for one in trained if one["milliseconds"] <= limit]
    return {
        "way": way,
        "seed": seed,
        "trained": len(trained),
        "pruned": len(records) - len(trained),
        "within": len(within),
        "best": max(within, default=None),
        "models": trained,
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Best accuracies of each way: mean, least and most over the seeds."""
    found = {}
    for way in WAYS:
        best = [run["best"] for run in runs if run["way"] == way and run["best"] is not None]
        found[way] = {
            "seeds": len(best),
            "mean": round(statistics.mean(best), 4) if best else None,
            "least": min(best, default=None),
            "most": max(best, default=None),
            "deviation": round(statistics.stdev(best), 4) if len(best) > 1 else None,
        }
    return found


def main() -> None:
    """Run all ways in turn, seed by seed, so that a busy machine is busy for all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=8, help="models that each way trains")
    parser.add_argument("--limit", type=float, default=0.03, help="milliseconds of a picture on one thread")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    begin = machine.load()
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(Path(folder))
        runs = [
            search(bench, way, seed, options.budget, options.limit) for seed in range(options.seeds) for way in WAYS
        ]
    settings = {"budget": options.budget, "limitMilliseconds": options.limit, "seeds": options.seeds}
    loads = {"loadAtStart": begin, "loadAtEnd": machine.load()}
    machine.write({**machine.describe(), **loads, **settings, "summary": summary(runs), "runs": runs}, options.out)


if __name__ == "__main__":
    main()
