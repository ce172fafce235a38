"""Runs with trackers, through MLflow's own store: one run for a job and its restarts, by one process."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.unit.train.processes import train, wait_for
from tests.unit.train.runs import runs

pytest.importorskip("mlflow")

SERVER = Path.home() / ".cache/slipway/peers/mlflow-3.17/bin/mlflow"
BESIDE = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


def tracked(folder: Path, uri: str, **recipe: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    document = runs.document(folder, "ddp", **recipe)
    document["spec"]["tracking"] = {"mlflow": {"uri": uri, "experiment": "digits of ml"}}
    path = folder / "job.json"
    path.write_text(json.dumps(document))
    return path


def stored(uri: str) -> tuple[list[Any], dict[str, list[tuple[int, float]]]]:
    """Runs of the experiment, and of the first one all figures."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("digits of ml")
    found = client.search_runs([experiment.experiment_id])
    names = found[0].data.metrics
    history = {name: client.get_metric_history(found[0].info.run_id, name) for name in names}
    return found, {name: [(point.step, point.value) for point in points] for name, points in history.items()}


def require_whole(folder: Path, uri: str) -> None:
    """One run that ended, with every row and every point once, and what was made of it."""
    found, figures = stored(uri)
    assert [run.info.status for run in found] == ["FINISHED"]
    rows = [json.loads(line) for line in (folder / "model/metrics.jsonl").read_text().splitlines()]
    curve = [json.loads(line) for line in (folder / "model/curve.jsonl").read_text().splitlines()]
    assert figures["heldOut/accuracy"] == [(row["step"], row["accuracy"]) for row in rows]
    assert figures["training/loss"] == [(point["step"], point["trainingLoss"]) for point in curve]
    assert found[0].data.params["optimizer.name"] == "adamw"
    assert found[0].data.tags["slipway.uid"] == runs.UID
    assert found[0].data.tags["slipway.artifact.digest"].startswith("sha256:")
    assert found[0].data.tags["slipway.processes"] == "2"


def test_one_process_of_two_makes_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers on every rank make a run each (Ultralytics), and every figure twice."""
    for name, value in BESIDE.items():
        monkeypatch.setenv(name, value)
    uri = (tmp_path / "mlruns").as_uri()
    config = tracked(tmp_path, uri)
    with train(config, 2, tmp_path / "logs", **BESIDE) as running:
        assert [one.wait() for one in running] == [0, 0], running[0].output
    require_whole(tmp_path, uri)
    events = list((tmp_path / "model/tensorboard").iterdir())
    assert [path.name.startswith("events.out.tfevents.") for path in events] == [True]
    listed = {file["path"] for file in json.loads((tmp_path / "model/artifact.json").read_text())["files"]}
    assert f"tensorboard/{events[0].name}" in listed


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server around SQLite."""
    if not SERVER.exists():
        pytest.skip(f"no MLflow server in {SERVER.parents[1]}, an environment with the package mlflow 3.17")
    port = free_port()
    store = f"sqlite:///{tmp_path}/mlflow.db"
    command = [str(SERVER), "server", "--backend-store-uri", store, "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | BESIDE
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"{uri}/health", timeout=5).status == 200)
        return False

    try:
        wait_for(answers, "the server")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_job_that_was_killed_goes_on_in_the_same_run(tmp_path: Path, server: str) -> None:
    config = tracked(tmp_path, server, epochs=3)
    checkpoints = tmp_path / f"checkpoints/digits-{runs.UID[:8]}"
    with train(config, 2, tmp_path / "logs") as running:
        wait_for(lambda: list(checkpoints.glob("step-*5/manifest.json")), "a checkpoint")
        time.sleep(2)  # figures of steps after it may arrive meanwhile, and happen again
        for one in running:
            os.kill(one.process.pid, signal.SIGKILL)
    with train(config, 2, tmp_path / "logs") as running:
        assert [one.wait() for one in running] == [0, 0], running[0].output
        assert "warning: tracking" not in running[0].output
    require_whole(tmp_path, server)


@pytest.mark.slow
def test_a_server_that_is_away_at_first_gets_everything(tmp_path: Path, server: str) -> None:
    """What a dead server missed in one life of the job it gets in the next, from the checkpoint's rows."""
    away = tracked(tmp_path, f"http://127.0.0.1:{free_port()}", epochs=1)
    with train(away, 2, tmp_path / "logs") as running:
        assert [one.wait() for one in running] == [0, 0], running[0].output
        assert "is tried again, the training goes on" in running[0].output
    with train(tracked(tmp_path, server, epochs=2), 2, tmp_path / "logs") as running:
        assert [one.wait() for one in running] == [0, 0], running[0].output
    require_whole(tmp_path, server)
