"""Where users let their jobs write: what cannot be written is known before a step is trained, and nothing is lost."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.api.training.trainingjob import spec_problems
from tests.unit.train.processes import train, wait_for
from tests.unit.train.runs import runs
from workloads import artifact, storage
from workloads.errors import BadInput, Unavailable
from workloads.storage import object_stores, placement

SMALL: dict[str, Any] = {"epochs": 1, "model": {"name": "cnn", "width": 12}, "optimizer": {"learningRate": 0.01}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user cannot mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def artifact_in(folder: Path, text: str = "weights") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(text)
    (folder / "artifact.json").write_text(json.dumps({"files": [{"path": "model.safetensors"}], "text": text}))


def publish(target: Path, text: str) -> None:
    with storage.publishing(str(target), "job") as folder:
        artifact_in(folder, text)


def refused_output(folder: Path, uri: str) -> str:
    """A training with this output is refused before its first step. Returns the words."""
    config = runs.write(folder, "single", **SMALL)
    document = json.loads(config.read_text())
    document["spec"]["output"] = {"uri": uri}
    config.write_text(json.dumps(document))
    with train(config, 1, folder / "logs") as (one,):
        assert one.wait() == 2, one.output
        assert "training " not in one.output
        assert not runs.checkpoints(folder)
        return str(one.output.splitlines()[-1])


def test_an_output_below_a_file_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "the path leads through a file" in refused_output(tmp_path, (tmp_path / "file/model").as_uri())


def test_an_output_without_driver_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no driver for unheardof://"):
        storage.check_output("unheardof://bucket/model", "job")


def test_a_full_disk_is_refused_before_the_training(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "full").write_bytes(bytes(2**20 - 8192))
    with pytest.raises(OSError, match="No space"):
        (small_disk / "more").write_bytes(bytes(2**20))
    assert "the disk is full: free some of it" in refused_output(tmp_path, (small_disk / "a/model").as_uri())


def test_a_read_only_file_system_is_refused_before_the_training(tmp_path: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "the file system is read-only" in refused_output(tmp_path, (small_disk / "model").as_uri())


def test_the_check_of_an_output_leaves_nothing_behind(tmp_path: Path) -> None:
    storage.check_output((tmp_path / "a/b/model").as_uri(), "job")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("held", ["notes.txt", "other/artifact.json", ".git/config"])
def test_a_folder_that_holds_other_things_is_never_moved_away(tmp_path: Path, held: str) -> None:
    """pvc://claim/team with the artifacts of other jobs in it went to team.replaced-... as a whole."""
    (tmp_path / "team" / held).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "team" / held).write_text("somebody's")
    assert "choose a folder of its own" in refused_output(tmp_path, (tmp_path / "team").as_uri())
    assert (tmp_path / "team" / held).read_text() == "somebody's"


def test_an_artifact_beside_which_somebody_put_a_file_is_never_moved_away(tmp_path: Path) -> None:
    artifact_in(tmp_path / "model")
    (tmp_path / "model/notes.txt").write_text("somebody's")
    with pytest.raises(BadInput, match=r"holds what is no artifact \(notes.txt\)"):
        storage.check_output(str(tmp_path / "model"), "job")


def test_the_working_directory_is_never_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(BadInput, match="this process works there: name a folder inside"):
        storage.check_output(".", "job")


def test_a_mounted_volume_is_never_renamed(small_disk: Path) -> None:
    with pytest.raises(BadInput, match="a volume is mounted there"):
        storage.check_output(small_disk.as_uri(), "job")


def test_what_comes_to_the_folder_during_the_training_stays(tmp_path: Path) -> None:
    def write() -> None:
        with storage.publishing(str(tmp_path / "model"), "job") as folder:
            artifact_in(folder)
            (tmp_path / "model").mkdir()
            (tmp_path / "model/notes.txt").write_text("somebody's")

    with pytest.raises(BadInput, match="choose a folder of its own"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_replaced_artifacts_are_pruned_and_nothing_else(tmp_path: Path) -> None:
    others = ["model.replaced-notes", "model.replaced-0123456789ab", "other.replaced-0123456789ab"]
    for name in others:
        (tmp_path / name).mkdir()
    artifact_in(tmp_path / "other.replaced-0123456789ac")
    for text in "abcdef":
        publish(tmp_path / "model", text)
    aside = {path.name: path for path in tmp_path.glob("model.replaced-*") if path.name not in others}
    assert {(path / "model.safetensors").read_text() for path in aside.values()} == {"d", "e"}
    assert len(aside) == placement.KEPT
    assert all((tmp_path / name).is_dir() for name in [*others, "other.replaced-0123456789ac"])


def test_a_link_to_an_artifact_stays_a_link(tmp_path: Path) -> None:
    artifact_in(tmp_path / "real/one")
    (tmp_path / "model").symlink_to(tmp_path / "real/one")
    publish(tmp_path / "model", "new")
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "real/one/model.safetensors").read_text() == "new"


def put(uri: str, owner: str, **files: str) -> None:
    with storage.publishing(uri, owner) as folder:
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)


def names(uri: str) -> set[str]:
    files, root = object_stores.of(uri)
    return {path.removeprefix(root).lstrip("/") for path in files.find(root)}


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"memory://bucket-{tmp_path.name}/team/model"


def torso(uri: str, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that was killed before its artifact.json."""
    files, _ = object_stores.of(uri)
    whole = type(files).put_file

    def killed(self: Any, source: str, target: str, **more: Any) -> None:
        if target.endswith("artifact.json"):
            raise KeyboardInterrupt
        whole(self, source, target, **more)

    with monkeypatch.context() as context:
        context.setattr(type(files), "put_file", killed)
        with pytest.raises(KeyboardInterrupt):
            put(uri, owner, artifact_json="{}", model_safetensors="old", strange_bin="old")


def test_the_torso_of_a_killed_upload_is_replaced(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any existing key was "something is there already": the job could never finish."""
    torso(store, "job", monkeypatch)
    assert "artifact.json" not in names(store)
    storage.check_output(store, "job")
    put(store, "job", artifact_json="{}", model_safetensors="new")
    assert names(store) == {"artifact.json", "model.safetensors"}
    assert (storage.fetch(store) / "model.safetensors").read_text() == "new"


def test_the_torso_of_an_earlier_release_is_replaced(store: str) -> None:
    files, root = object_stores.of(store)
    files.pipe_file(f"{root}/model.safetensors", b"old")
    put(store, "job", artifact_json="{}", model_safetensors="new")
    assert (storage.fetch(store) / "model.safetensors").read_text() == "new"


def test_a_job_killed_after_its_upload_publishes_again(store: str) -> None:
    owned = json.dumps({"lineage": {"job": {"kind": "TrainingJob", "name": "a", "uid": runs.UID}}})
    put(store, runs.UID, artifact_json=owned, model_safetensors="old")
    put(store, runs.UID, artifact_json=owned, model_safetensors="new")
    assert (storage.fetch(store) / "model.safetensors").read_text() == "new"
    with pytest.raises(BadInput, match="something is there already"):
        storage.check_output(store, "another")


def test_a_prefix_with_other_things_is_refused_and_kept(store: str) -> None:
    files, root = object_stores.of(store)
    files.pipe_file(f"{root}/other/artifact.json", b"{}")
    with pytest.raises(BadInput, match=r"holds what is no artifact \(other/artifact.json\)"):
        storage.check_output(store, "job")
    assert names(store) == {"other/artifact.json"}


def test_checkpoints_in_a_store_are_refused_at_admission() -> None:
    spec = runs.document(Path("/tmp"), "single")["spec"]
    for scheme in ("s3", "gs"):
        _, problems = spec_problems("a", {**spec, "checkpoint": {"uri": f"{scheme}://bucket/checkpoints"}})
        assert any("object stores cannot rename" in problem for problem in problems)


def test_a_full_disk_costs_saves_and_not_the_training(tmp_path: Path, small_disk: Path) -> None:
    """The failed save stayed and ate the room: once short, no later save could be made."""
    runs.run(tmp_path / "whole", "single", 1, **SMALL)
    config = runs.write(tmp_path / "short", "single", **SMALL)
    document = json.loads(config.read_text())
    document["spec"]["checkpoint"] = {"uri": (small_disk / "checkpoints").as_uri(), "everySteps": 1, "keepLast": 3}
    config.write_text(json.dumps(document))
    one_save = sum(path.stat().st_size for path in runs.checkpoints(tmp_path / "whole")[-1].rglob("*"))
    # Room for two and a half: keepLast 3 needs four.
    (small_disk / "others").write_bytes(bytes(2**20 - int(2.5 * one_save) - 65536))
    with train(config, 1, tmp_path / "logs") as (one,):
        assert one.wait() == 0, one.output
        assert "the disk is short" in one.output
        assert "could not be saved" not in one.output
    left = sorted(path.name for path in (small_disk / "checkpoints/digits-6f1c4a52").iterdir())
    left = [name for name in left if name != "tensorboard"]
    assert left[-1] == "step-0000000010"
    assert not [name for name in left if name.startswith(".")]


def test_half_a_save_on_a_full_disk_goes_at_once(tmp_path: Path, small_disk: Path) -> None:
    config = runs.write(tmp_path, "single", **SMALL)
    document = json.loads(config.read_text())
    document["spec"]["checkpoint"] = {"uri": (small_disk / "checkpoints").as_uri(), "everySteps": 5}
    config.write_text(json.dumps(document))
    (small_disk / "others").write_bytes(bytes(2**20 - 131072))
    with train(config, 1, tmp_path / "logs") as (one,):
        assert one.wait() == 0, one.output
        assert "could not be saved, training goes on without it" in one.output.partition("epoch 1/1")[0]
    left = {path.name for path in (small_disk / "checkpoints/digits-6f1c4a52").iterdir()}
    assert left <= {"tensorboard"}
    assert artifact.read(tmp_path / "model").description.lineage.steps == 10


def test_killed_between_two_saves_on_a_short_disk_it_ends_as_undisturbed(tmp_path: Path, small_disk: Path) -> None:
    import torch

    recipe = {**SMALL, "epochs": 30}
    runs.run(tmp_path / "whole", "single", 1, **recipe)
    config = runs.write(tmp_path / "short", "single", **recipe)
    document = json.loads(config.read_text())
    document["spec"]["checkpoint"] = {"uri": (small_disk / "checkpoints").as_uri(), "everySteps": 7, "keepLast": 5}
    config.write_text(json.dumps(document))
    folder = small_disk / "checkpoints/digits-6f1c4a52"
    one_save = sum(path.stat().st_size for path in runs.checkpoints(tmp_path / "whole")[-1].rglob("*"))
    (small_disk / "others").write_bytes(bytes(2**20 - int(2.5 * one_save) - 65536))
    with train(config, 1, tmp_path / "logs") as (one,):
        wait_for(lambda: len(list(folder.glob("step-*"))) >= 2, "two checkpoints")
        os.kill(one.process.pid, signal.SIGKILL)
        one.wait()
    with train(config, 1, tmp_path / "logs") as (one,):
        assert one.wait() == 0, one.output
        assert "resumed from step" in one.output
    expected = runs.weights(tmp_path / "whole")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in runs.weights(tmp_path / "short").items())


def test_a_store_that_does_not_answer_is_asked_again_and_a_wrong_key_is_not() -> None:
    class EndpointConnectionError(Exception):
        pass

    asked_again = object_stores.refusal("s3://b/k", EndpointConnectionError("Could not connect"), "written")
    assert isinstance(asked_again, Unavailable)
    final = object_stores.refusal("s3://b/k", PermissionError("Access Denied"), "written")
    assert isinstance(final, BadInput)
