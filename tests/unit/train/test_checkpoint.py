"""Checkpoints of one process: whole or passed over, and only for the job they were made for."""

import enum
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

from slipway.api.training.learning.optimizer import Optimizer
from tests.unit.train.processes import results
from workloads import storage
from workloads.errors import BadInput, Corrupt
from workloads.pod.environment import Place
from workloads.train.checkpoints.checkpoint import Checkpoints, SavedState
from workloads.train.checkpoints.files import TensorsOnly
from workloads.train.optimisation import build_optimizer
from workloads.train.strategies.base import Single
from workloads.train.world import World

MADE_FOR = {"model": {"name": "net"}, "seed": 1}


@pytest.fixture
def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = build_optimizer(Optimizer(weight_decay=0.1), model)
    advance(model, optimizer)
    return model, optimizer


def spread(model: nn.Module, optimizer: torch.optim.Optimizer) -> Single:
    """The strategy of one process, around parts made here."""
    strategy = Single(None)  # type: ignore[arg-type]
    strategy.model, strategy.optimizer = model, optimizer
    return strategy


def save(checkpoints: Checkpoints, step: int, parts: Any, state: dict[str, Any]) -> None:
    checkpoints.save(step, spread(*parts).save(), state)


def load(checkpoints: Checkpoints, found: SavedState, parts: Any) -> None:
    spread(*parts).load(lambda state: checkpoints.read(found, state), lambda: torch.zeros(()))


def advance(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.randn(16, 4)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[Checkpoints]:
    found = Checkpoints(tmp_path, 2, World(Place()), MADE_FOR)
    yield found
    found.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_model_and_optimizer_come_back(checkpoints: Checkpoints, parts: Any, name: str) -> None:
    model, _ = parts
    optimizer = build_optimizer(Optimizer(name=name, learning_rate=0.01, weight_decay=0.1), model)  # type: ignore[arg-type]
    advance(model, optimizer)
    save(checkpoints, 7, (model, optimizer), {"history": [{"epoch": 1}], "scaler": {}})
    saved = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torch.manual_seed(1)
    advance(model, optimizer)
    after = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    checkpoints.wait(must_succeed=True)

    other = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    fresh = build_optimizer(Optimizer(name=name, learning_rate=0.01, weight_decay=0.1), other)  # type: ignore[arg-type]
    found = checkpoints.latest()
    assert found is not None
    assert (found.step, found.state) == (7, {"history": [{"epoch": 1}], "scaler": {}})
    load(checkpoints, found, (other, fresh))
    assert all(torch.equal(other.state_dict()[key], saved[key]) for key in saved)
    torch.manual_seed(1)
    advance(other, fresh)
    assert all(torch.equal(other.state_dict()[key], after[key]) for key in after)


def test_only_the_last_are_kept(tmp_path: Path, checkpoints: Checkpoints, parts: Any) -> None:
    for step in (5, 10, 15, 15, 20):
        save(checkpoints, step, parts, {})
    checkpoints.wait(must_succeed=True)
    assert names(tmp_path) == ["step-0000000015", "step-0000000020"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "file missing", "no manifest", "half a manifest"])
def test_a_damaged_one_is_passed_over_with_a_warning(
    tmp_path: Path, checkpoints: Checkpoints, parts: Any, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(checkpoints, 5, parts, {})
    save(checkpoints, 10, parts, {})
    checkpoints.wait(must_succeed=True)
    newest = tmp_path / "step-0000000010"
    data, manifest = next(newest.glob("*.distcp")), newest / "manifest.json"
    content = data.read_bytes()
    if damage == "truncated":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "file missing":
        data.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:50])
    again = Checkpoints(tmp_path, 2, World(Place()), MADE_FOR)
    found = again.latest()
    assert found is not None
    assert found.step == 5
    assert "step-0000000010 is damaged" in capsys.readouterr().out
    assert names(tmp_path) == ["damaged-step-0000000010", "step-0000000005"]
    load(again, found, parts)
    save(again, 10, parts, {})  # the run comes by the same step again
    again.wait(must_succeed=True)
    assert names(tmp_path) == ["step-0000000005", "step-0000000010"]
    resumed = again.latest()
    assert resumed is not None
    assert resumed.step == 10
    again.close()


def test_what_changes_after_save_is_not_saved(checkpoints: Checkpoints, parts: Any) -> None:
    history = [1]
    saved = parts[0].state_dict()["0.weight"].clone()
    save(checkpoints, 5, parts, {"history": history})
    history.append(2)
    advance(*parts)
    checkpoints.wait(must_succeed=True)
    found = checkpoints.latest()
    assert found is not None
    assert found.state == {"history": [1]}
    load(checkpoints, found, parts)
    assert torch.equal(parts[0].state_dict()["0.weight"], saved)


def test_the_best_are_kept_beside_the_last(tmp_path: Path, parts: Any) -> None:
    checkpoints = Checkpoints(tmp_path, 1, World(Place()), MADE_FOR, keep_best=1)
    for step, score in ((5, 0.7), (10, 0.9), (12, None), (15, 0.8)):
        checkpoints.save(step, spread(*parts).save(), {}, score)
    checkpoints.wait(must_succeed=True)
    assert names(tmp_path) == ["step-0000000010", "step-0000000015"]
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 15
    checkpoints.close()


class Evil:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


@pytest.mark.parametrize("place", ["table", "entry"])
def test_a_pickle_that_runs_a_program_is_refused(
    tmp_path: Path, checkpoints: Checkpoints, parts: Any, place: str
) -> None:
    """Its digests are right: whoever writes the folder writes the manifest, too."""
    save(checkpoints, 5, parts, {})
    checkpoints.wait(must_succeed=True)
    folder = tmp_path / "step-0000000005"
    if place == "table":
        (folder / ".metadata").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    else:
        state = spread(*parts).save()
        state["model"]["0.weight"] = Evil(tmp_path / "ran")
        dcp.save(state, checkpoint_id=folder, no_dist=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    files = storage.digests_of(folder, leave_out=["manifest.json"])
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": [file.wire() for file in files]}))
    (tmp_path / "ran").unlink(missing_ok=True)
    found = checkpoints.latest()
    assert found is not None
    with pytest.raises((Corrupt, BadInput), match=r"refused, not the table|0\.weight .* no such tensor"):
        load(checkpoints, found, parts)
    assert not (tmp_path / "ran").exists()


def test_written_by_debian_12s_python_it_is_read(
    checkpoints: Checkpoints, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11.2 pickles a member as getattr(class, name), which the table's reader once refused."""
    monkeypatch.setattr(enum.Enum, "__reduce_ex__", lambda self, _: (getattr, (type(self), self.name)))
    save(checkpoints, 5, parts, {})
    checkpoints.wait(must_succeed=True)
    monkeypatch.undo()
    found = checkpoints.latest()
    assert found is not None
    assert b"getattr" in (found.folder / ".metadata").read_bytes()
    load(checkpoints, found, parts)


def test_no_other_attribute_is_got(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Getting()))
    with pytest.raises(Corrupt, match="'__subclasses__' of <enum"):
        TensorsOnly(tmp_path).read_metadata()


class Getting:
    """Unpickled, it would be a way to every class there is."""

    def __reduce__(self) -> Any:
        return getattr, (_MEM_FORMAT_ENCODING, "__subclasses__")


def own_folder(root: str) -> str:
    """On each of two ranks: a folder that the other does not see, as two ReadWriteOnce claims would be."""
    import os

    from workloads.pod.environment import read_place
    from workloads.train.checkpoints import checkpoint

    checkpoint.SHARED_WITHIN = 0.5
    place = read_place(os.environ)
    try:
        Checkpoints(Path(root) / str(place.rank), 2, World(place), MADE_FOR)
    except BadInput as error:
        return str(error)
    return ""


def test_processes_that_do_not_share_the_folder_are_told_before_training(tmp_path: Path) -> None:
    words = results(own_folder, (str(tmp_path),), 2, tmp_path)
    assert words[0] == words[1]
    assert "1 of 2 processes do not see the folder: use a ReadWriteMany claim" in words[0]


def test_nothing_to_resume_from(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, checkpoints: Checkpoints, parts: Any) -> None:
    save(checkpoints, 5, parts, {})
    checkpoints.wait(must_succeed=True)
    other = Checkpoints(tmp_path, 2, World(Place()), {**MADE_FOR, "seed": 2})
    with pytest.raises(BadInput, match="made with seed 1, this job has 2: use an empty folder"):
        other.latest()
    other.close()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-0000000005-abc").mkdir()
    (tmp_path / ".step-0000000005-abc/__0_0.distcp").touch()
    Checkpoints(tmp_path, 2, World(Place()), MADE_FOR).close()
    assert names(tmp_path) == []


def test_a_save_that_fails_is_told_and_training_goes_on(
    tmp_path: Path, parts: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path / "gone", 2, World(Place()), MADE_FOR)
    (tmp_path / "gone").rmdir()
    (tmp_path / "gone").write_text("a file where the folder was")
    save(checkpoints, 5, parts, {})
    checkpoints.wait()
    assert "could not be saved, training goes on" in capsys.readouterr().out
    save(checkpoints, 6, parts, {})
    with pytest.raises(RuntimeError, match=r"step 6 not saved: process 0: .*Not a directory"):
        checkpoints.wait(must_succeed=True)
    checkpoints.close()
