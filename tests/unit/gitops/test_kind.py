"""kind-config.yaml under the real `kind`, which speaks to a Docker engine that only writes down what it is asked.

kind reads and checks its configuration first, and says by `docker run` what every node is made of.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster import gpus
from tests.cluster.kind import SHARED
from tests.cluster.paths import REPOSITORY
from tests.unit.gitops.build import fetched

CONFIG = REPOSITORY / "kind-config.yaml"
DOCKER = """#!/bin/sh
echo "$*" >> "$DOCKER_LOG"
if [ "$1" = info ]; then
  echo '{"CgroupVersion": "2", "MemoryLimit": true, "PidsLimit": true, "CPUShares": true, "SecurityOptions": []}'
elif [ "$1" = logs ]; then
  echo 'Reached target Multi-User System.'
fi
"""


@pytest.fixture
def kind() -> Path:
    found = shutil.which("kind")
    return Path(found) if found else fetched("kind")


def create(kind: Path, config: Path, scratch: Path) -> tuple[str, list[str]]:
    """What kind says, and what it asks Docker for."""
    engine = scratch / "docker"
    engine.write_text(DOCKER)
    engine.chmod(0o755)
    log = scratch / "docker.log"
    environment = os.environ | {"PATH": f"{scratch}:{os.environ['PATH']}", "DOCKER_LOG": str(log)}
    argv = [str(kind), "create", "cluster", "--name=slipway", f"--config={config}", f"--kubeconfig={scratch}/config"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr, log.read_text().splitlines() if log.exists() else []


def test_kind_makes_one_control_plane_and_two_workers_that_share_a_folder(kind: Path, tmp_path: Path) -> None:
    words, asked = create(kind, CONFIG, tmp_path)
    assert "Preparing nodes" in words, words
    runs = {line.split("--name ")[1].split()[0]: line for line in asked if line.startswith("run ")}
    assert set(runs) == {"slipway-control-plane", "slipway-worker", "slipway-worker2"}
    shared = [name for name, line in runs.items() if f":{SHARED}" in line]
    assert sorted(shared) == ["slipway-worker", "slipway-worker2"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("role: worker", "role: wrker"), "is not a valid node role"),
        (("labels:", "lables:"), "field lables not found"),
    ],
)
def test_kind_would_refuse_a_mistake(kind: Path, tmp_path: Path, wrong: tuple[str, str], words: str) -> None:
    (tmp_path / "wrong.yaml").write_text(CONFIG.read_text().replace(*wrong))
    said, asked = create(kind, tmp_path / "wrong.yaml", tmp_path)
    assert words in said
    assert not [line for line in asked if line.startswith("run ")]


def test_the_workers_are_labelled_as_the_set_up_expects() -> None:
    nodes = yaml.safe_load(CONFIG.read_text())["nodes"]
    workers = [node for node in nodes if node["role"] == "worker"]
    assert [node["labels"] for node in workers] == [gpus.LABELS, gpus.LABELS]


def test_the_workflow_runs_what_the_readme_promises() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "kind.yaml").read_text())
    commands = [step.get("run", "") for step in workflow["jobs"]["kind"]["steps"]]
    targets = {word for command in commands for word in command.split() if word in {"demo", "down"}}
    assert targets == {"demo", "down"}
    makefile = (REPOSITORY / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["kind"]["env"]["SLIPWAY_CLUSTER"] == "kind"
