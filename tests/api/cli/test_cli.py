"""`slipway status`, `watch`, `logs`, `report` against a real API server, by way of kubectl."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipway.cli.app import app
from tests.api.conftest import SHARED as NS
from tests.api.stage import Stage
from tests.cluster.scripted.script import Exit
from tests.needs import need

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]


@pytest.fixture(scope="module", autouse=True)
def kubectl_is_there() -> None:
    need("kubernetes-client", shutil.which("kubectl"))


def slipway(stage: Stage, *words: str) -> tuple[int, str]:
    options = ["--kubeconfig", str(stage.plane.kubeconfig), "--namespace", NS]
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [*words, *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_status_from_running_to_failed(stage: Stage, name: str) -> None:
    stage.create(NS, name, numNodes=2, failurePolicy={"maxRestarts": 0})
    stage.until_running(NS, name)
    code, text = slipway(stage, "status", f"tj/{name}")
    assert code == 3
    for words in ("AllPodsRunning", f"{name}-node-0-a0", f"{name}-node-1-a0", "Running", f"TrainingJob/{name}"):
        assert words in text
    stage.finish(NS, f"{name}-node-1-a0", Exit(code=7, message="no such file"))
    stage.until_condition(NS, name, "Failed")
    code, text = slipway(stage, "status", name)
    assert code == 1
    assert "exit code 7" in text
    assert "no such file" in text


def test_status_as_json(stage: Stage, name: str) -> None:
    stage.create(NS, name)
    stage.until_running(NS, name)
    code, text = slipway(stage, "status", name, "--output", "json")
    shown = json.loads(text)
    assert (code, shown["verdict"], shown["kind"]) == (3, "IN_PROGRESS", "TrainingJob")
    assert [pod["name"] for pod in shown["pods"]] == [f"{name}-node-0-a0"]
    assert shown["status"] == stage.job(NS, name)["status"]
    assert shown["lineage"]["made"][0]["title"] == f"TrainingJob/{name}"


def test_watch_ends_with_the_job(stage: Stage, name: str) -> None:
    stage.create(NS, name)
    stage.until_running(NS, name)
    threading.Timer(1.0, stage.finish, (NS, f"{name}-node-0-a0")).start()
    code, text = slipway(stage, "watch", name, "--interval", "0.2")
    assert code == 0
    assert "Succeeded" in text


def test_a_list_names_each_for_other_commands(stage: Stage, name: str) -> None:
    stage.create(NS, name, runPolicy={"suspend": True})
    stage.until_condition(NS, name, "Suspended")
    code, text = slipway(stage, "list", "--output", "name")
    assert code == 0
    assert f"tj/{name}" in text.splitlines()
    code, text = slipway(stage, "list", "tj", "-A")
    assert code == 0
    assert any(NS in line and f"tj/{name}" in line and "Suspended" in line for line in text.splitlines())
    assert slipway(stage, "list", "pods")[0] == 2


def test_a_job_is_suspended_resumed_and_waited_for(stage: Stage, name: str) -> None:
    stage.create(NS, name, failurePolicy={"maxRestarts": 0})
    stage.until_running(NS, name)
    assert slipway(stage, "suspend", name) == (0, f"tj/{name} suspended\n")
    assert slipway(stage, "wait", name, "--for", "Suspended", "--timeout", "60", "--interval", "0.2")[0] == 0
    assert slipway(stage, "suspend", name) == (0, f"tj/{name} is suspended\n")
    assert slipway(stage, "wait", name, "--timeout", "0")[0] == 3, "a suspended job is on its way"
    assert slipway(stage, "resume", name) == (0, f"tj/{name} resumed\n")
    attempt = stage.until_running(NS, name, attempt=1)["status"]["attempt"]
    stage.finish(NS, f"{name}-node-0-a{attempt}", Exit(code=1))
    code, text = slipway(stage, "wait", name, "--timeout", "60", "--interval", "0.2")
    assert code == 1, "kubectl wait would sit out its hour"
    assert "Failed" in text or "MaxRestarts" in text
    code, text = slipway(stage, "suspend", name)
    assert code == 2
    assert "has ended" in text


def test_what_is_not_there(stage: Stage, name: str) -> None:
    code, text = slipway(stage, "status", f"no-{name}")
    assert code == 4
    assert f"no-{name} is not there" in text
    stage.create(NS, name, runPolicy={"suspend": True})
    stage.until_condition(NS, name, "Suspended")
    assert slipway(stage, "logs", name)[0] == 4
    code, text = slipway(stage, "report", name, "--no-open")
    assert code == 5
    assert "no report" in text


def test_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("contexts: []\nclusters: []\nusers: []\n")
    result = CliRunner().invoke(app, ["status", "x", "--kubeconfig", str(config), "--context", "nowhere"])
    assert result.exit_code == 5
    assert "nowhere" in result.output
