"""Pictures of users: broken ones, their size, left and right, and boxes in the layouts of labelling services."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from tests.unit.train.runs.users.test_files import choice, classes_in, opened, picture
from workloads.data.images import image_folder
from workloads.data.texts import text_files
from workloads.errors import BadInput, Unavailable
from workloads.models.from_artifact import load_model
from workloads.train.setup import augmented
from workloads.train.tasks import Figures


@pytest.mark.parametrize("make", ["truncated", "text", "empty"])
def test_a_broken_picture_is_refused_or_skipped_and_named(tmp_path: Path, make: str) -> None:
    classes_in(tmp_path, 20)
    bad = tmp_path / "cat/3.png"
    bad.write_bytes({"truncated": bad.read_bytes()[:40], "text": b"no picture", "empty": b""}[make])
    with pytest.raises(BadInput, match=r"cat/3.png: this picture cannot be decoded .*set dataset.onBadSample: Skip"):
        image_folder.load(choice("image-folder", tmp_path)).training.batch(range(32))
    found = opened("image-folder", tmp_path, onBadSample="Skip")
    pixels, labels = found.training.batch(range(len(found.training)))
    assert len(pixels) == len(labels) == 32
    assert {int(p.max()) for p, label in zip(pixels, labels, strict=True) if label == 0} == {0}
    found.held_out.batch(range(8))
    assert found.bad.names() == {str(bad)}


def test_skipped_pictures_are_told_in_log_and_artifact(tmp_path: Path) -> None:
    """One broken JPEG killed a run at its turn, one picture per run."""
    classes_in(tmp_path / "pictures", 40)
    for number in (3, 5):
        (tmp_path / f"pictures/cat/{number}.png").write_bytes(b"broken")
    own = {"name": "image-folder", "uri": (tmp_path / "pictures").as_uri()}
    recipe = {"epochs": 2, "globalBatchSize": 16, "dataset": own, "dataWorkers": 1}
    said = jobs.refused(tmp_path, **recipe)
    assert "set dataset.onBadSample: Skip" in said.splitlines()[-1]
    said = runs.run(tmp_path, "ddp", 2, **{**recipe, "dataset": {**own, "onBadSample": "Skip"}})
    assert "2 samples were skipped" in said
    assert "data: one fifth of each class held out" in said
    assert "data: 2 classes: cat 32, dog 32" in said
    assert json.loads((tmp_path / "model/skipped.json").read_text())["count"] == 2
    load_model(tmp_path / "model")


def test_skipped_samples_are_counted_in_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    from workloads.train.telemetry import progress_reporter

    posts: list[Any] = []
    monkeypatch.setattr(progress_reporter.Poster, "update", lambda _self, snapshot: posts.append(snapshot.metrics))
    report = progress_reporter.ProgressReporter(first=True, total_steps=4, steps_per_epoch=2, batch=8)
    for count in (0, 3):
        report.skipped(count)
        report.epoch(2, 1.0, Figures({}, "", 0.0), {})
    assert [post.get("samples_skipped") for post in posts] == [None, 3.0]


def test_many_broken_pictures_are_no_exception(tmp_path: Path) -> None:
    classes_in(tmp_path, 20)
    for path in (tmp_path / "cat").iterdir():
        path.write_bytes(b"broken")
    picture(tmp_path / "cat/0.png")
    found = opened("image-folder", tmp_path, onBadSample="Skip")
    with pytest.raises(BadInput, match="more than 10 pictures cannot be decoded"):
        found.training.batch(range(len(found.training)))


def test_a_disks_fault_is_no_broken_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes_in(tmp_path)
    found = opened("image-folder", tmp_path, onBadSample="Skip")

    def stale(*_arguments: Any) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(Image, "open", stale)
    with pytest.raises(Unavailable, match="Stale file handle"):
        found.training.batch([0])


def test_the_size_of_pictures_is_a_field_and_told(tmp_path: Path) -> None:
    classes_in(tmp_path)
    assert opened("image-folder", tmp_path).taken[-1] == "16 x 16 pixels, each as a whole"
    large = opened("image-folder", tmp_path, imageSize=96)
    assert large.taken[-1] == "96 x 96 pixels, the middle of each"
    assert large.training.batch([0])[0].shape == (1, 3, 96, 96)


def test_evaluation_has_a_limit_of_its_own(tmp_path: Path) -> None:
    classes_in(tmp_path, 20)
    found = opened("image-folder", tmp_path, evaluationLimit=3)
    assert (len(found.held_out), found.reference.held_out_samples, len(found.training)) == (3, 3, 32)


def arrow(path: Path, left: bool, shade: int) -> None:
    pixels = np.full((16, 16), 255 - shade, np.uint8)
    for row in range(16):
        reach = 8 - abs(8 - row)
        pixels[row, max(0, 15 - 2 * reach) if left else 0 : 16 if left else 2 * reach + 1] = shade
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(("mirror", "low", "high"), [(None, 0.95, 1.0), (True, 0.0, 0.8)])
def test_left_and_right_can_be_told_apart(tmp_path: Path, mirror: bool | None, low: float, high: float) -> None:
    """Mirroring could not be switched off: left and right arrows were learned to 0.500 on held-out pictures."""
    for shade in range(60):
        arrow(tmp_path / f"arrows/left/{shade}.png", True, shade)
        arrow(tmp_path / f"arrows/right/{shade}.png", False, shade)
    recipe: dict[str, Any] = {
        "epochs": 8, "globalBatchSize": 16, "model": {"name": "cnn", "width": 8},
        "dataset": {"name": "image-folder", "uri": (tmp_path / "arrows").as_uri()},
    }  # fmt: skip
    more = {} if mirror is None else {"augmentation": {"mirror": mirror}}
    said = runs.run(tmp_path, "single", 1, **recipe, **more)
    assert ("mirrored at random" in said) is bool(mirror)
    assert low <= runs.history(tmp_path)[-1]["accuracy"] <= high


def test_augmentation_is_held_to_the_data(tmp_path: Path) -> None:
    from slipway.api.training.recipe import Augmentation

    classes_in(tmp_path)
    found = opened("image-folder", tmp_path)
    changed = augmented(found, Augmentation(mirror=True, shift=0.0))
    assert (changed.augmentation.flip, changed.augmentation.shift) == (True, 0)
    assert augmented(found, Augmentation()).augmentation == found.augmentation
    with pytest.raises(BadInput, match="scale is for pictures with boxes"):
        augmented(found, Augmentation(scale=0.2))
    (tmp_path / "a.txt").write_text("word " * 200)
    text = text_files.load(choice("text-files", tmp_path / "a.txt"))
    with pytest.raises(BadInput, match="the data set holds text"):
        augmented(text, Augmentation(mirror=False))


def test_boxes_in_the_layout_of_labelling_services(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("valid", 2)):
        for number in range(count):
            picture(tmp_path / part / "images" / f"{number}.png")
            label = tmp_path / part / "labels" / f"{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [thing]\ntrain: ../train/images\n")
    found = opened("yolo-folder", tmp_path, imageSize=64)
    assert (len(found.training), len(found.held_out)) == (4, 2)
    assert found.training.batch([0])[1][0, 0].tolist() == [0.0, 32.0, 32.0, 32.0, 32.0]
    assert not found.augmentation.flip


def test_a_resumed_run_over_broken_pictures_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    classes_in(tmp_path / "pictures", 40)
    (tmp_path / "pictures/cat/3.png").write_bytes(b"broken")
    own = {"name": "image-folder", "uri": (tmp_path / "pictures").as_uri(), "onBadSample": "Skip"}
    jobs.resumed_ends_as_undisturbed(tmp_path, "single", 1, epochs=2, globalBatchSize=16, dataset=own)
