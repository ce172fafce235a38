"""Records what real runs say, for health.lua's own test: `python -m tests.api.gitops.record` writes
manifests/argocd/testdata and manifests/argocd/health_test.yaml, in the format of Argo CD's resource_customizations.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from tests.api.gitops.plays import Plays, Seen
from tests.api.operators import Operator
from tests.api.stage import Stage
from tests.cluster.paths import REPOSITORY
from tests.unit.gitops.health import health

FOLDER = REPOSITORY / "manifests" / "argocd"
HEADER = "# Recorded from real runs by `python -m tests.api.gitops.record`.\n"


def record(seen: list[Seen], folder: Path = FOLDER) -> None:
    """One file per case, and the list of what has to come out."""
    (folder / "testdata").mkdir(parents=True, exist_ok=True)
    tests = []
    for one in seen:
        one.obj["metadata"].pop("managedFields", None)
        file = Path("testdata") / f"{one.case}.yaml"
        (folder / file).write_text(HEADER + yaml.safe_dump(one.obj, sort_keys=False, width=120))
        status, message = health(one.obj)
        assert status == one.argocd, f"{one.case}: {status}, and {one.argocd} was expected"
        tests.append({"healthStatus": {"status": status, "message": message}, "inputPath": str(file)})
    listed = yaml.safe_dump({"tests": tests}, sort_keys=False, width=120)
    (folder / "health_test.yaml").write_text(HEADER + listed)


def main() -> None:
    """Start a control plane and an operator, play, write, end them."""
    with tempfile.TemporaryDirectory() as scratch, Stage(Path(scratch)) as stage:
        namespace, unwatched = stage.namespace("recorded"), stage.namespace("unwatched")
        operator = Operator(stage.plane.kubeconfig, namespace, Path(scratch) / "log", {})
        try:
            record(list(Plays(stage, operator, namespace, unwatched).all()))
        finally:
            operator.kill()


if __name__ == "__main__":
    main()
