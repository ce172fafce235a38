"""kill -9 in the places where a run writes or judges: it ends with the artifact of the undisturbed run, to the bit."""

import importlib.util
import json
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.train.processes import train
from tests.unit.train.runs import runs
from workloads import artifact, storage
from workloads.storage import object_stores

OWN = {"name": "custom", "callable": "tests.unit.train.runs.users.killing:data"}
SMALL: dict[str, Any] = {"epochs": 2, "model": {"name": "cnn", "width": 12}, "optimizer": {"learningRate": 0.01}}


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


BATCHES = 359 // 64 + 1  # of an evaluation, whose batch is the training's
NEEDS_S3 = pytest.mark.skipif(
    not (importlib.util.find_spec("s3fs") and importlib.util.find_spec("moto")), reason="s3fs or moto is not installed"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs.run(folder, "single", 1, dataset=OWN, **SMALL)
    found: dict[str, torch.Tensor] = runs.weights(folder)
    return found


def job(folder: Path, **spec: Any) -> Path:
    path = runs.write(folder, "single", dataset=OWN, **SMALL)
    document = json.loads(path.read_text())
    document["spec"] |= spec
    path.write_text(json.dumps(document))
    return path


def lives(folder: Path, config: Path, at: str, **env: str) -> str:
    """Killed once at this place, then run to the end. Returns what the second life printed."""
    known = {"KILL_AT": at, "KILL_MARK": str(folder / "killed"), **env}
    with train(config, 1, folder / "logs", **known) as (one,):
        assert one.wait() == -signal.SIGKILL, one.output
    with train(config, 1, folder / "logs", **known) as (one,):
        assert one.wait() == 0, one.output
        return str(one.output)


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize(
    ("at", "resumes"),
    [
        slow("first-write", False),
        ("rehearsed", False),
        (f"evaluation:{1 + BATCHES // 2}", True),  # the first is the rehearsal's; inside the evaluation of epoch 1
        slow(f"evaluation:{1 + BATCHES + 2}", True),
        slow("checkpoint:0", False),
        ("checkpoint:1", False),
        ("checkpoint:2", True),
        ("best", True),
        ("publication", True),
    ],
)
def test_killed_where_it_writes_or_judges(
    tmp_path: Path, undisturbed: dict[str, torch.Tensor], at: str, resumes: bool
) -> None:
    said = lives(tmp_path, job(tmp_path), at)
    assert ("resumed from step" in said) is resumes
    same(runs.weights(tmp_path), undisturbed)
    artifact.read(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "model."))] == []
    left = (tmp_path / "checkpoints/digits-6f1c4a52").iterdir()
    assert [path.name for path in left if path.name.startswith(".")] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [1.6, slow(2.5)])
def test_killed_in_a_checkpoint_on_a_full_disc(
    tmp_path: Path, small_disk: Path, undisturbed: dict[str, torch.Tensor], room: float
) -> None:
    """Half a save fills the disc: the next life removes it first. Room for so many saves, and keepLast asks for six."""
    runs.run(tmp_path / "whole", "single", 1, dataset=OWN, **SMALL)
    one_save = sum(path.stat().st_size for path in runs.checkpoints(tmp_path / "whole")[-1].rglob("*"))
    best = sum(path.stat().st_size for path in (tmp_path / "whole/model").glob("model.safetensors"))
    (small_disk / "others").write_bytes(bytes(2**20 - int(room * one_save) - best - 65536))
    kept = {"uri": (small_disk / "checkpoints").as_uri(), "everySteps": 4, "keepLast": 5}
    said = lives(tmp_path, job(tmp_path, checkpoint=kept), "checkpoint:2")
    assert "resumed from step" in said
    same(runs.weights(tmp_path), undisturbed)
    left = (small_disk / "checkpoints/digits-6f1c4a52").iterdir()
    assert [path.name for path in left if path.name.startswith(".")] == []


@cache
def _bucket_of(server: str) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("bucket", exist_ok=True)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@NEEDS_S3
@pytest.mark.parametrize("at", [slow("upload:0"), "upload:1", slow("upload:2"), "tidying"])
def test_killed_in_an_upload(
    tmp_path: Path, server: str, undisturbed: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Before the first file, between two, before artifact.json or after it: the torso is replaced, nothing is left."""
    known = {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    known |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    _bucket_of(server)
    uri = f"s3://bucket/{at.replace(':', '-')}/model"
    said = lives(tmp_path, job(tmp_path, output={"uri": uri}), at, **known)
    assert "resumed from step" in said
    files, root = object_stores.of(uri)
    files.invalidate_cache()
    names = {path.removeprefix(root).lstrip("/") for path in files.find(root)}
    assert names == {"artifact.json", *(one.path for one in artifact.read(uri).description.files)}
    same(load_file(storage.fetch(uri) / "model.safetensors"), undisturbed)
