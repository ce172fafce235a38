"""Whole runs in real processes: the same result on one and two, and after a kill, a SIGTERM or a damaged checkpoint."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.ports import free_port
from tests.unit.train import processes
from tests.unit.train.conftest import digits_job
from tests.unit.train.processes import train, wait_for
from workloads import artifact
from workloads.models.from_artifact import load_model

UID = "6f1c4a52-6f7e-4f0a-9a53-1f2f3c4d5e6f"


def job(folder: Path, **recipe: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(json.dumps(digits_job(folder, **recipe)))
    return path


def run(config: Path, count: int = 1, *options: str, **env: str) -> str:
    """Train to the end. Returns what the first process printed."""
    with train(config, count, config.parent / "logs", *options, **env) as running:
        for one in running:
            assert one.wait() == 0, one.output
        output: str = running[0].output
        return output


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints/digits-6f1c4a52").glob("step-*"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "model/model.safetensors")
    return found


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "model/metrics.jsonl").read_text().splitlines()]


def weights_of(description: Any) -> str:
    """The digest of the published weights."""
    return next(str(file.digest) for file in description.files if file.path == "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, eight epochs of 22 steps."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(job(folder, epochs=8), SLIPWAY_TERMINATION_LOG=str(folder / "termination-log"))
    return folder


def test_it_learns_and_says_so(undisturbed: Path) -> None:
    _, description = load_model(undisturbed / "model")
    assert description.metrics["accuracy"] >= 0.95  # width 8; the default width reaches 0.98
    assert description.metrics["samples"] == 359
    assert (
        description.metrics["accuracyLow95"] < description.metrics["accuracy"] < description.metrics["accuracyHigh95"]
    )
    assert description.lineage.job.uid == UID
    assert description.lineage.steps == 176
    assert [row["epoch"] for row in history(undisturbed)] == list(range(1, 9))
    assert history(undisturbed)[-1]["trainingLoss"] < history(undisturbed)[0]["trainingLoss"] / 5
    message = json.loads((undisturbed / "termination-log").read_text())
    assert message["artifact"]["digest"] == artifact.read(undisturbed / "model").digest
    assert message["artifact"]["uri"] == (undisturbed / "model").as_uri()
    assert message["resumedFromStep"] is None


def test_the_published_model_has_the_published_accuracy(undisturbed: Path) -> None:
    from slipway.api.common.sources import DatasetChoice
    from workloads import data
    from workloads.vision.preprocessing import normalise

    model, description = load_model(undisturbed / "model")
    held_out = data.load(DatasetChoice(name="digits")).held_out  # type: ignore[arg-type]
    pixels, labels = held_out.batch(range(len(held_out)))
    assert description.preprocessing is not None
    with torch.inference_mode():
        found = model(torch.from_numpy(normalise(pixels, description.preprocessing))).argmax(1).numpy()
    assert (found == labels).mean() == pytest.approx(description.metrics["accuracy"])


def test_killed_mid_epoch_it_ends_with_the_very_same_weights(undisturbed: Path, tmp_path: Path) -> None:
    config = job(tmp_path, epochs=8)
    with train(config, 1, tmp_path / "logs") as (process,):
        wait_for(lambda: checkpoints(tmp_path), "a checkpoint")
        os.kill(process.process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    step = int(checkpoints(tmp_path)[-1].name.removeprefix("step-"))
    assert step % 22  # inside an epoch
    assert not (tmp_path / "model").exists()
    output = run(config)
    assert f"resumed from step {step} (epoch {step // 22 + 1})" in output
    expected = weights(undisturbed)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path).items())
    assert [row["epoch"] for row in history(tmp_path)] == list(range(1, 9))
    assert artifact.read(tmp_path / "model").description.lineage.resumed_from_step == step


def test_one_and_two_processes_take_the_same_path(tmp_path: Path) -> None:
    """Same global batches, averaged gradients, one clipping over all: only rounding may differ."""
    recipe = {"epochs": 1, "gradientClipping": 1.0, "labelSmoothing": 0.1, "schedule": {"warmupSteps": 5}}
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(job(alone, **recipe))
    run(job(together, gradientAccumulationSteps=2, **recipe), 2)
    expected = weights(alone)
    for name, tensor in weights(together).items():
        assert torch.allclose(tensor, expected[name], atol=2e-4), name
    one, two = history(alone)[0], history(together)[0]
    assert two["trainingLoss"] == pytest.approx(one["trainingLoss"], rel=1e-3)
    assert two["samples"] == one["samples"] == 359  # which does not divide by two
    assert artifact.read(together / "model").description.lineage.processes == 2


def test_a_gang_survives_kill_damage_sigterm_and_another_size(tmp_path: Path) -> None:
    """One story, to share the processes' start: two ranks are killed, one goes on, is told to stop, and two finish."""
    config = job(tmp_path, epochs=60)
    kill_one_of_two(config, tmp_path)
    newest, before = checkpoints(tmp_path)[-1], checkpoints(tmp_path)[-2]
    part = max(newest.glob("*.distcp"), key=lambda path: path.stat().st_size)
    os.truncate(part, part.stat().st_size // 2)

    with train(config, 1, tmp_path / "logs") as (alone,):
        wait_for(lambda: "training cnn" in alone.output, "the resume")
        assert f"{newest.name} is damaged" in alone.output
        assert f"resumed from step {int(before.name[5:])} " in alone.output
        assert stop(alone.process.pid, [alone]) < 10
        saved = int(re.findall(r"state of step (\d+) saved", alone.output)[0])
    assert checkpoints(tmp_path)[-1].name == f"step-{saved:010d}"

    with train(config, 2, tmp_path / "logs") as pair:
        wait_for(lambda: "training cnn" in pair[0].output, "the resume")
        assert f"resumed from step {saved} " in pair[0].output
        assert stop(pair[1].process.pid, pair) < 10  # only one of them is told
        steps = {re.findall(r"state of step (\d+) saved", one.output)[0] for one in pair}
        assert len(steps) == 1
    output = run(config, 2, "--epochs", str(int(steps.pop()) // 22 + 2))
    assert "held-out accuracy" in output
    load_model(tmp_path / "model")


def kill_one_of_two(config: Path, folder: Path) -> None:
    with train(config, 2, folder / "logs") as pair:
        wait_for(lambda: len(checkpoints(folder)) >= 2, "two checkpoints")
        os.kill(pair[1].process.pid, signal.SIGKILL)
        assert pair[0].wait() == 1
        assert pair[0].output.strip().splitlines()[-1].startswith("error: lost contact with another process")


def stop(pid: int, running: list[Any]) -> float:
    """SIGTERM; seconds until all have ended with 143."""
    started = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    assert [one.wait() for one in running] == [143] * len(running), [one.output for one in running]
    return time.monotonic() - started


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    """The digits as PNG files, one folder per class: the whole way by decoded files and `image-folder`."""
    from PIL import Image

    from slipway.api.common.sources import DatasetChoice
    from workloads import data

    images = data.load(DatasetChoice(name="digits")).training  # type: ignore[arg-type]
    for number, (pixels, label) in enumerate(zip(*images.batch(range(1000)), strict=True)):
        path = tmp_path / "pictures" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(path)
    run(job(tmp_path, epochs=8, dataset={"name": "image-folder", "uri": (tmp_path / "pictures").as_uri()}))
    _, description = load_model(tmp_path / "model")
    assert description.labels == [str(digit) for digit in range(10)]
    assert description.metrics["accuracy"] > 0.6  # mirrored digits are hard to tell; chance is 0.1


def test_sigterm_without_a_checkpoint_folder(tmp_path: Path) -> None:
    document = digits_job(tmp_path, epochs=1000)
    del document["spec"]["checkpoint"], document["spec"]["output"]
    config = tmp_path / "job.json"
    config.write_text(json.dumps(document))
    with train(config, 1, tmp_path / "logs") as (process,):
        wait_for(lambda: "epoch 1/1000" in process.output, "the first epoch")
        stop(process.process.pid, [process])
        assert "no checkpoint.uri, so nothing is saved" in process.output.splitlines()[-1]


def test_a_loss_that_is_none_is_neither_saved_nor_published(tmp_path: Path) -> None:
    config = job(tmp_path, epochs=2, optimizer={"learningRate": 100.0, "weightDecay": 10.0})
    with train(config, 1, tmp_path / "logs") as (process,):
        assert process.wait() == 2  # the same steps would lead there again
        assert "lower the learning rate" in process.output.splitlines()[-1]
    assert not checkpoints(tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_finished_job_run_again_trains_nothing(undisturbed: Path) -> None:
    before = artifact.read(undisturbed / "model")
    output = run(undisturbed / "job.json")
    after = artifact.read(undisturbed / "model")
    assert "nothing left to train" in output
    assert weights_of(before.description) == weights_of(after.description)
    aside = [path for path in undisturbed.iterdir() if path.name.startswith("model.replaced-")]
    assert [artifact.read(path).digest for path in aside] == [before.digest]


@pytest.mark.parametrize(
    ("recipe", "count", "words"),
    [
        ({"globalBatchSize": 63}, 2, "does not divide by 2 (2 processes x 1 accumulation steps)"),
        ({"globalBatchSize": 2048}, 1, "more than the 1438 training samples"),
        ({"precision": "fp16"}, 1, "precision fp16 needs a CUDA device"),
        ({"schedule": {"warmupSteps": 500}}, 1, "schedule.warmupSteps is 500"),
        ({"dataset": {"name": "image-folder", "uri": "pvc://absent/data"}}, 1, "the claim is not mounted"),
        ({"profile": {"firstStep": 219}}, 1, "recipe.profile ends after the run, which has 220 steps"),
        ({"epochs": 0}, 1, "spec.recipe.epochs"),
    ],
)
def test_bad_input_ends_with_2_and_words(tmp_path: Path, recipe: dict[str, Any], count: int, words: str) -> None:
    with train(
        job(tmp_path, **recipe), count, tmp_path / "logs", SLIPWAY_TERMINATION_LOG=str(tmp_path / "t")
    ) as running:
        assert [one.wait() for one in running] == [2] * count
        assert words in running[0].output.splitlines()[-1]
    # What the kubelet tells is the words alone: under torchrun a condition held them twice, with a log line between.
    told = (tmp_path / "t").read_text()
    assert words in told
    assert "error:" not in told


def test_bf16_with_loader_processes_learns_as_well(tmp_path: Path) -> None:
    run(job(tmp_path, precision="bf16", dataWorkers=1, epochs=3), 2)
    _, description = load_model(tmp_path / "model")
    assert description.metrics["accuracy"] > 0.8


def test_running_statistics_are_the_same_on_all_processes(tmp_path: Path) -> None:
    """A ResNet's statistics differ between processes after a step; what is saved, judged and published must agree."""
    digits = {"name": "digits", "limit": 8}
    config = job(tmp_path, model={"name": "resnet18"}, globalBatchSize=8, epochs=1, dataset=digits)
    run(config, 2)
    before = artifact.read(tmp_path / "model").description
    assert before.lineage.steps == 1
    run(config, 1)  # from the checkpoint: evaluated and published again, by one process
    after = artifact.read(tmp_path / "model").description
    assert weights_of(after) == weights_of(before)
    assert after.metrics["loss"] == pytest.approx(before.metrics["loss"], rel=1e-6)


@pytest.fixture
def command() -> Callable[..., Any]:
    import subprocess

    def call(*arguments: str, **env: str) -> Any:
        merged = {**os.environ, "PYTHONPATH": f"{processes.ROOT / 'operator'}:{processes.ROOT}", **env}
        return subprocess.run(
            [sys.executable, *arguments], env=merged, capture_output=True, text=True, timeout=300, check=False
        )

    return call


def test_torchrun_gives_the_first_failures_code_and_words(tmp_path: Path, command: Callable[..., Any]) -> None:
    config = job(tmp_path, globalBatchSize=63)
    launch = ["-m", "workloads", "torchrun", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    launch += [f"--master-port={free_port()}", "--no-python"]
    done = command(*launch, sys.executable, "-m", "workloads", "train", "--config", str(config))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert re.fullmatch(r"error: process \d: recipe.globalBatchSize 63 does not divide by 2 .*", last)


def test_commands_are_listed_without_importing_torch(command: Callable[..., Any]) -> None:
    done = command("-X", "importtime", "-m", "workloads")
    assert done.returncode == 0
    assert "train " in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "numpy", "pydantic", "workloads.train"}
    assert command("-m", "workloads", "dance").returncode == 2
    assert command("-m", "workloads", "train").returncode == 2
