"""Object stores, by a real S3-compatible server: what can go wrong with a bucket is known before the training."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slipway.api.common.sources import DatasetChoice
from tests.unit.quantize import jobs as quantize
from tests.unit.train.processes import train
from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from workloads import artifact, data, storage
from workloads.errors import BadInput, Unavailable
from workloads.models.from_artifact import load_model
from workloads.storage import object_stores

if not (importlib.util.find_spec("s3fs") and importlib.util.find_spec("moto")):
    pytest.skip("s3fs or moto is not installed", allow_module_level=True)

SMALL: dict[str, Any] = {"epochs": 1, "model": jobs.own("sized"), "optimizer": {"learningRate": 0.01}}
SMALL["dataset"] = {"name": "digits", "limit": 128}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 with one bucket."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def env(server: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a Secret's keys in trainer.env would set."""
    found = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("bucket", exist_ok=True)
    return found


def config(folder: Path, uri: str, **recipe: Any) -> Path:
    path = runs.write(folder, "single", **{**SMALL, **recipe})
    document = json.loads(path.read_text())
    document["spec"]["output"] = {"uri": uri}
    path.write_text(json.dumps(document))
    return path


def test_a_training_reads_its_data_from_s3_and_publishes_there(tmp_path: Path, env: dict[str, str]) -> None:
    table = tmp_path / "reviews.csv"
    rows = "".join(f"the {word} one {n},{word}\n" for n in range(40) for word in ("good", "bad"))
    table.write_text("text,label\n" + rows)
    files, root = object_stores.of("s3://bucket/data/reviews.csv")
    files.put_file(str(table), root)
    data = {"name": "text-table", "uri": "s3://bucket/data/reviews.csv", "sequenceLength": 32}
    model = {"name": "text-classifier", "layers": 1, "hiddenSize": 16, "heads": 2}
    path = config(tmp_path, "s3://bucket/models/a", model=model, dataset=data, globalBatchSize=16)
    with train(path, 1, tmp_path / "logs", **env) as (one,):
        assert one.wait() == 0, one.output
    files.invalidate_cache()
    assert not any(name.rpartition("/")[2].startswith(".") for name in files.find("bucket/models"))
    _, description = load_model("s3://bucket/models/a")
    assert description.labels == ["bad", "good"]
    # Killed between its upload and its exit, the same job runs again; another job is refused before it trains.
    with train(path, 1, tmp_path / "logs", **env) as (one,):
        assert one.wait() == 0, one.output
    shutil.rmtree(tmp_path / "checkpoints")
    path.write_text(path.read_text().replace(runs.UID, runs.UID.replace("6", "7")))
    with train(path, 1, tmp_path / "logs", **env) as (one,):
        assert one.wait() == 2
        assert "something is there already" in one.output.splitlines()[-1]
        assert not runs.checkpoints(tmp_path)


def test_a_quantization_reads_and_writes_in_a_bucket(tmp_path: Path, env: dict[str, str]) -> None:
    """Model, samples and artifact in the store, unfinished work on a disk; what is there is not replaced by others."""
    cnn = {"name": "cnn", "width": 4}
    with train(config(tmp_path, "s3://bucket/models/cnn", model=cnn), 1, tmp_path / "logs", **env) as (one,):
        assert one.wait() == 0, one.output
    files, root = object_stores.of("s3://bucket/data/dark")
    for number in range(10):
        for name, grey in (("dark", 20), ("bright", 230)):
            local = tmp_path / "pictures" / name / f"{number}.png"
            local.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), grey).save(local)
            files.put_file(str(local), f"{root}/{name}/{number}.png")
    pictures = {"name": "image-folder", "uri": "s3://bucket/data/dark"}
    wanted: dict[str, Any] = {
        "model": {"uri": "s3://bucket/models/cnn"},
        "calibration": {"dataset": {"name": "digits"}, "samples": 50},
        "work": {"uri": (tmp_path / "work").as_uri()},
        "output": {"uri": "s3://bucket/models/cnn-int8"},
        "ladder": ["static-per-channel"],
        "gates": {"accuracy": {"maxDrop": 1.0}},
        "optimizeFor": "size",
    }
    quantize.run(quantize.job(tmp_path / "int8", tmp_path, **wanted))
    found = artifact.read("s3://bucket/models/cnn-int8").description
    assert {file.path for file in found.files} >= {"model.onnx"}
    samples = data.open_set(DatasetChoice.model_validate(pictures))
    assert samples.labels == ("bright", "dark")
    with pytest.raises(BadInput, match="something is there already"):
        storage.check_output("s3://bucket/models/cnn-int8", "another")


def test_a_bucket_that_is_not_there_is_refused_before_the_training(tmp_path: Path, env: dict[str, str]) -> None:
    with train(config(tmp_path, "s3://absent/a"), 1, tmp_path / "logs", **env) as (one,):
        assert one.wait() == 2, one.output
        assert "s3://absent/a: it cannot be written" in one.output.splitlines()[-1]
        assert "is there such a bucket? Create it, or choose another one" in one.output.splitlines()[-1]


def test_without_credentials_it_is_refused_before_the_training(env: dict[str, str], monkeypatch: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(BadInput, match="give the pods credentials, by a Secret's keys"):
        storage.check_output("s3://bucket/models/b", "job")


def test_a_dead_endpoint_may_come_back(env: dict[str, str], monkeypatch: Any) -> None:
    from tests.ports import free_port

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(Unavailable, match="nobody answers at the store's address"):
        storage.check_output("s3://bucket/models/b", "job")


def test_the_check_of_a_store_leaves_nothing_behind(env: dict[str, str]) -> None:
    storage.check_output("s3://bucket/models/c", "job")
    files, _ = object_stores.of("s3://bucket")
    files.invalidate_cache()
    assert files.find("bucket/models/c") == []
