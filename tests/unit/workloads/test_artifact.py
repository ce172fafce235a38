"""Artifacts: written once, read only when every digest holds, rebuilt without pickle."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slipway.api.common.artifact import (
    Architecture,
    Artifact,
    DType,
    JobReference,
    Lineage,
    Preprocessing,
    Signature,
    Task,
    TensorSpec,
)
from workloads import artifact, models
from workloads.data.normalisation import Normalise
from workloads.errors import BadInput, Corrupt
from workloads.models import Images
from workloads.models.from_artifact import load_model
from workloads.vision.preprocessing import normalise, prepare


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build("cnn", models.arguments_for("cnn", Images(1, 8, 8, 3), 4))


def describe() -> Artifact:
    return Artifact(
        task=Task.IMAGE_CLASSIFICATION,
        architecture=Architecture(name="cnn", arguments=models.arguments_for("cnn", Images(1, 8, 8, 3), 4)),
        signature=Signature(
            inputs=[TensorSpec(name="images", dtype=DType.FLOAT32, shape=["batch", 1, 8, 8])],
            outputs=[TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", 3])],
        ),
        labels=["a", "b", "c"],
        metrics={"accuracy": 0.5},
        parameters=7,
        lineage=Lineage(job=JobReference(kind="TrainingJob", name="j", uid="u")),
        created="2026-01-01T00:00:00Z",
        files=[],
    )


@pytest.fixture
def written(tmp_path: Path, model: torch.nn.Module) -> tuple[Path, str]:
    path = tmp_path / "model"
    _, digest = artifact.write(path.as_uri(), "job", describe(), model.state_dict(), [{"epoch": 1}, {"epoch": 2}])
    return path, digest


def test_a_model_comes_back_as_it_was(written: tuple[Path, str], model: torch.nn.Module) -> None:
    path, digest = written
    loaded, description = load_model(path, digest)
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(loaded(images), model(images))
    assert not loaded.training
    assert description.model_copy(update={"files": []}) == describe()
    assert [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()] == [
        {"epoch": 1},
        {"epoch": 2},
    ]


def test_the_digest_is_the_descriptions_and_fixes_every_file(written: tuple[Path, str]) -> None:
    path, digest = written
    assert digest == f"sha256:{hashlib.sha256((path / 'artifact.json').read_bytes()).hexdigest()}"
    named = {file["path"]: file["digest"] for file in json.loads((path / "artifact.json").read_text())["files"]}
    assert set(named) == {file.name for file in path.iterdir()} - {"artifact.json"}
    assert artifact.read(path).digest == digest


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.jsonl"])
def test_a_changed_file_is_refused(written: tuple[Path, str], name: str) -> None:
    path, _ = written
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(Corrupt, match=f"{name}: the sha256"):
        load_model(path)


def test_weights_that_are_not_listed_are_not_loaded(written: tuple[Path, str]) -> None:
    path, _ = written
    document = json.loads((path / "artifact.json").read_text())
    document["files"] = [file for file in document["files"] if file["path"] != "model.safetensors"]
    (path / "artifact.json").write_text(json.dumps(document))
    with pytest.raises(BadInput, match=r"lists no model\.safetensors"):
        load_model(path)


def test_another_artifact_than_the_expected_one_is_refused(written: tuple[Path, str]) -> None:
    path, digest = written
    document = json.loads((path / "artifact.json").read_text())
    document["labels"] = ["x", "y", "z"]
    (path / "artifact.json").write_text(json.dumps(document))
    assert artifact.read(path).description.labels == ["x", "y", "z"]
    with pytest.raises(Corrupt, match="expected sha256"):
        load_model(path, digest)


def test_what_is_no_artifact_is_refused(tmp_path: Path, written: tuple[Path, str]) -> None:
    with pytest.raises(BadInput, match="nothing at"):
        artifact.read(tmp_path / "absent")
    with pytest.raises(BadInput, match="not a model artifact"):
        artifact.read(tmp_path)
    path, _ = written
    document = json.loads((path / "artifact.json").read_text())
    (path / "artifact.json").write_text(json.dumps({**document, "formatVersion": 2}))
    with pytest.raises(BadInput, match="format version 2, this release reads 1"):
        artifact.read(path)
    (path / "artifact.json").write_text('{"formatVersion": 1')
    with pytest.raises(Corrupt, match="not JSON"):
        artifact.read(path)
    (path / "artifact.json").write_text('{"formatVersion": 1}')
    with pytest.raises(Corrupt, match="Field required"):
        artifact.read(path)


def test_fields_of_a_newer_writer_are_skipped(written: tuple[Path, str]) -> None:
    path, _ = written
    document = json.loads((path / "artifact.json").read_text())
    (path / "artifact.json").write_text(json.dumps({**document, "colour": "blue"}))
    assert artifact.read(path).description.labels == ["a", "b", "c"]


def test_weights_of_another_model_are_refused(tmp_path: Path, model: torch.nn.Module) -> None:
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("last")}
    artifact.write(str(tmp_path / "model"), "job", describe(), state, [])
    with pytest.raises(Corrupt, match="do not fit cnn"):
        load_model(tmp_path / "model")


def test_loading_never_unpickles(written: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("pickle.Unpickler", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    load_model(written[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_onnx_export_of_what_was_loaded(written: tuple[Path, str], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded, description = load_model(written[0])
    names = description.signature.inputs[0].name, description.signature.outputs[0].name
    images = torch.randn(5, 1, 8, 8)
    path = tmp_path / "model.onnx"
    options = {"input_names": names[:1], "output_names": names[1:], "dynamic_axes": {names[0]: {0: "batch"}}}
    torch.onnx.export(loaded, (images,), path, dynamo=False, **options)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        found = session.run([names[1]], {names[0]: images[:count].numpy()})[0]
        assert np.allclose(found, loaded(images[:count]).detach().numpy(), atol=1e-5)


def test_a_picture_is_prepared_as_described() -> None:
    picture = Image.new("RGB", (40, 20), (0, 0, 0))
    picture.paste((255, 255, 255), (10, 0, 30, 20))
    how = Preprocessing(channels=3, height=8, width=8, resize=10, mean=[0.0] * 3, std=[1.0] * 3)
    prepared = prepare(picture, how)
    assert prepared.shape == (3, 8, 8)
    assert prepared[:, :, 1:-1].min() == 255  # the white middle of the wide picture
    grey = prepare(picture, Preprocessing(channels=1, height=4, width=6, mean=[0.0], std=[1.0]))
    assert grey.shape == (1, 4, 6)


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    picture = Image.new("L", (8, 8), 0)
    picture.paste(255, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    picture.save(tmp_path / "p.png", exif=exif)
    with Image.open(tmp_path / "p.png") as opened:
        upright = prepare(opened, Preprocessing(channels=1, height=8, width=8, mean=[0.0], std=[1.0]))
    assert upright[0, :4].max() == 0
    assert upright[0, 4:].min() == 255


def test_server_and_trainer_normalise_alike() -> None:
    how = Preprocessing(channels=3, height=4, width=5, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)
    expected = (pixels / 255 - np.reshape(how.mean, (1, 3, 1, 1))) / np.reshape(how.std, (1, 3, 1, 1))
    assert np.allclose(normalise(pixels, how), expected, atol=1e-6)
    assert np.allclose(Normalise(how, torch.device("cpu"))(torch.from_numpy(pixels)).numpy(), expected, atol=1e-6)
