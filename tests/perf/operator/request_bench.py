"""`python -m tests.perf.operator.request_bench`: the operator's requests to the API server for an object of each kind.

From creation to the end, or to a service that is ready, on a real API server whose kubelets follow scripts. Counted by
the server's audit log, without lists and watches, whose number does not grow with the objects. Objects come one after
another: in a burst writes of status fall together, so that this is the dear case.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.api.inferenceservice.services import Town
from tests.api.operators import Operator
from tests.api.quantizationjob.acts import play
from tests.api.quantizationjob.jobs import Jobs
from tests.api.searchjob.searches import Searches
from tests.api.stage import Stage, marked
from tests.cluster.scripted.script import Script
from tests.perf import machine

RESULTS = Path(__file__).parents[1] / "results" / "requests.json"
NODES = 4
SERVER = {"SLIPWAY_SERVER_IMAGE": "registry.example.com/slipway/server:bench"}


@dataclass(frozen=True)
class Kind:
    """A kind of object, in words, and how one of a name lives in a namespace."""

    name: str
    what: str
    live: Callable[[Stage, str, str], object]


def train(stage: Stage, namespace: str, name: str) -> None:
    """A job of four nodes that all succeed."""
    stage.scripts[name] = lambda _: Script(runs_for=0.5)
    stage.create(namespace, name, numNodes=NODES)
    stage.until_condition(namespace, name, "Succeeded", seconds=60)


def quantize(stage: Stage, namespace: str, name: str) -> None:
    """A job whose first rung passes its gates."""
    jobs = Jobs(stage)
    jobs.create(namespace, name, play())
    jobs.until_condition(namespace, name, "Succeeded", seconds=60)


def serve(stage: Stage, namespace: str, name: str) -> None:
    """A service of two replicas, until both are ready."""
    town = Town(stage, namespace)
    town.create(name, replicas=2)
    town.until_ready(name, seconds=60, desired=2, ready=2)


def search(stage: Stage, namespace: str, name: str) -> None:
    """A search of four trials, of which two are measured as too slow."""
    searches = Searches(stage)
    searches.create(namespace, name)
    searches.until(namespace, name, partial(marked, kind="Succeeded"), seconds=120)


KINDS = (
    Kind("TrainingJob", f"{NODES} pods, until it has succeeded", train),
    Kind("QuantizationJob", "six stages of a pod each, until it has succeeded", quantize),
    Kind("InferenceService", "2 replicas, until both are ready", serve),
    Kind("SearchJob", "4 trials measured, 2 of them trained, until it has succeeded", search),
)


def requests(events: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Number of requests by verb, resource and subresource, as kubectl writes them, without lists and watches."""
    about = ((event["verb"], event.get("objectRef") or {}) for event in events)
    return Counter(
        f"{verb} " + "/".join(filter(None, (of.get("resource"), of.get("subresource"))))
        for verb, of in about
        if verb not in ("list", "watch")
    )


def measure(stage: Stage, kind: Kind, objects: int, folder: Path) -> dict[str, Any]:
    """Requests of one kind, for each of its objects."""
    namespace = stage.namespace(f"requests-{kind.name.lower()}")
    operator = Operator(stage.plane.kubeconfig, namespace, folder / f"{kind.name}.log", SERVER, fresh=True)
    try:
        operator.ready()
        for number in range(objects):
            kind.live(stage, namespace, f"{kind.name.lower()}-{number}")
    finally:
        operator.stop()
    found = requests(stage.requests(f"/namespaces/{namespace}/"))
    each = {what: round(count / objects, 2) for what, count in sorted(found.items())}
    events = sum(count for what, count in found.items() if what.endswith(" events"))
    return {
        "what": kind.what,
        "requests": round((found.total() - events) / objects, 2),
        "events": round(events / objects, 2),
        "each": each,
        "load": machine.load(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=5, help="of each kind")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    about: dict[str, Any] = {**machine.describe(), "load": machine.load()}
    with tempfile.TemporaryDirectory(prefix="slipway-requests-") as name:
        folder = Path(name)
        (folder / "stage").mkdir()
        with Stage(folder / "stage") as stage:
            about["server"] = stage.plane.client.get("/version")["gitVersion"]
            rows = {kind.name: measure(stage, kind, options.objects, folder) for kind in KINDS}
    machine.write({"machine": about, "objects": options.objects, "kinds": rows}, options.out)


if __name__ == "__main__":
    main()
