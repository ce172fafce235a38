"""Checkpoints, with which a run survives the end of its processes: saved and found by torch.distributed.checkpoint.

A checkpoint is a folder `step-<n>` that appears by a rename when it is whole, with a manifest of sizes and sha256. The
newest one whose manifest holds is resumed from; a damaged one is passed over with a warning. Saving copies the state
and writes in a thread with connections of its own, so training goes on meanwhile.
"""

import json
import shutil
import time
import uuid
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from slipway.api.common.artifact import FileDigest
from workloads import storage, strict_json
from workloads.errors import BadInput, Corrupt, Unavailable, comes_again
from workloads.storage import placement
from workloads.train.checkpoints.files import TensorsOnly, saved_part
from workloads.train.world import World

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
PREFIX = "step-"
DAMAGED = "damaged-"
MARGIN = 1.1  # of the newest checkpoint's bytes
SHARED_WITHIN = 10.0  # seconds; NFS shows a new name to other clients only after its attribute cache


@dataclass(frozen=True)
class SavedState:
    """A whole checkpoint. `state` is what `save` was given beside model and optimizer."""

    folder: Path
    step: int
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one job. All processes create it and call its methods together."""

    def __init__(
        self, folder: Path, keep_last: int, world: World, made_for: Mapping[str, Any], keep_best: int = 0
    ) -> None:
        """`made_for` describes what must be equal for a checkpoint to fit (model, data, batch size, seed); plain
        JSON.
        """
        self._folder, self._keep_last, self._world, self._made_for = folder, keep_last, world, dict(made_for)
        self._keep_best = keep_best
        self._token = world.decide(self._open)
        self._require_shared()
        self._group = world.new_group()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None
        self.failed = 0
        """Saves of this process's life that did not come to be."""
        self._step, self._saved = -1, -1  # last begun, last known to be whole
        warnings.filterwarnings(
            "ignore", module="torch.distributed"
        )  # on its own deprecations, and on running without a group

    def _open(self) -> str:
        """Clear what killed attempts left, and prove that it can be written. A full disk is no reason to leave whole
        checkpoints alone: the run can go on from them, and end.
        """
        for leftover in self._folder.glob(f".{PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        mark = self._folder / f".{PREFIX}check"
        try:
            with placement.writing(str(self._folder), "checkpoint.uri", begun=any(self._folder.glob(f"{PREFIX}*"))):
                mark.mkdir(parents=True)
                (mark / "byte").write_bytes(b"1")
        except Unavailable as error:
            print(f"warning: {error}", flush=True)
        shutil.rmtree(mark, ignore_errors=True)
        return uuid.uuid4().hex[:12]

    def _require_shared(self) -> None:
        """Prove that all processes see the folder before hours of training depend on it: each writes its part there."""
        if self._world.size == 1:
            return
        mark = self._folder / f".shared-{self._token}"
        if self._world.first:
            mark.touch()
        self._world.barrier()
        deadline = time.monotonic() + SHARED_WITHIN
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        blind = int(self._world.sum([float(not mark.exists())])[0])
        if self._world.first:
            mark.unlink()
        if blind:
            raise BadInput(
                f"checkpoint.uri: {blind} of {self._world.size} processes do not see the folder: "
                "use a ReadWriteMany claim"
            )

    def latest(self) -> SavedState | None:
        """The newest whole checkpoint, or None. BadInput when it was made for something else."""
        return self._world.decide(self._latest)

    def _latest(self) -> SavedState | None:
        for folder in sorted(self._folder.glob(f"{PREFIX}*"), reverse=True):
            try:
                manifest = _read_manifest(folder)
            except Corrupt as error:
                print(f"warning: checkpoint {folder.name} is damaged, trying the one before: {error}", flush=True)
                self._set_aside(folder)
                continue
            self._require_fit(folder, manifest["madeFor"])
            return SavedState(folder, manifest["step"], manifest["state"])
        return None

    def _set_aside(self, folder: Path) -> None:
        """Move a damaged checkpoint aside: the run will come by its step again. Removed after the next good save."""
        aside = folder.with_name(f"{DAMAGED}{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)

    def _require_fit(self, folder: Path, made_for: dict[str, Any]) -> None:
        for name, value in self._made_for.items():
            if made_for.get(name) != value:
                raise BadInput(
                    f"{folder}: the checkpoint was made with {name} {made_for.get(name)}, this job has {value}: "
                    "use an empty folder"
                )

    def read(self, found: SavedState, state: dict[str, Any]) -> set[str]:
        """Fill a nest of tensors in place; how many processes saved them, and how they were cut, does not matter.

        Returns the parameters of which no moments were saved, since no gradient had come to them: theirs are left as
        they are. BadInput when the model's code asks for other tensors than were saved.
        """
        files = TensorsOnly(found.folder)
        kept, without = saved_part(state, files.read_metadata(), found.folder)
        try:
            load(kept, storage_reader=files, process_group=self._group, no_dist=self._group is None)
        except CheckpointException as error:
            refused = next((cause for cause, _ in error.failures.values() if isinstance(cause, Corrupt)), None)
            raise refused or error from error
        return without

    def save(self, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any], score: float | None = None) -> None:
        """Copy the tensors now, write them in the background. A save that fails is reported, and training goes on.

        `tensors` may be this process's share only; `state` is plain JSON, the same on all. `score`: how good the model
        is on held-out data, higher is better.
        """
        self.wait()
        if self._saved == step:
            return
        copied = _copied(dict(tensors))
        manifest = {
            "formatVersion": FORMAT_VERSION,
            "step": step,
            "score": score,
            "madeFor": self._made_for,
            "state": dict(state),
        }
        content = strict_json.line(manifest)  # now, because the loop goes on changing what `state` refers to
        self._step = step
        if self._world.first:
            self._make_room()
        self._under_way = self._thread.submit(self._write, copied, step, content)

    def wait(self, *, must_succeed: bool = False) -> None:
        """Wait until the save under way has ended. With `must_succeed` its error is raised."""
        if self._under_way is None:
            return
        error = self._under_way.exception()
        self._under_way = None
        self._saved = self._saved if error is not None else self._step
        if error is not None and must_succeed:
            raise error
        self.failed += error is not None
        if error is not None and self._world.first:
            print(f"warning: a checkpoint could not be saved, training goes on without it: {error}", flush=True)

    def proven(self) -> bool:
        """Wait for the save under way and tell whether it succeeded; the same answer on all processes, called by all.

        A disk without room, or whatever may pass, is told as of any other save. What would come again is raised.
        """
        error = self._under_way.exception() if self._under_way is not None else None
        final = error is not None and comes_again(error.__cause__ or error)
        failed, hopeless = self._world.sum([float(error is not None), float(final)])
        if hopeless:
            raise error if error is not None and final else BadInput("another process could not save its state")
        self.wait()
        if failed:
            self._saved = -1
        return not failed

    def forget(self, found: SavedState) -> None:
        """Remove a checkpoint that was made to be tried."""
        self._saved = -1
        if self._world.first:
            shutil.rmtree(found.folder, ignore_errors=True)

    def _write(self, state: dict[str, Any], step: int, manifest: str) -> None:
        name = f"{PREFIX}{step:010d}"
        staged = self._folder / f".{name}-{self._token}"
        try:
            save(state, checkpoint_id=staged, process_group=self._group, no_dist=self._group is None)
            if self._world.first:
                self._complete(staged, manifest)
                staged.rename(self._folder / name)
                self._prune()
        except CheckpointException as error:
            causes = "; ".join(f"process {rank}: {cause}" for rank, (cause, _) in error.failures.items())
            raise RuntimeError(f"checkpoint of step {step} not saved: {causes}") from error
        finally:
            if self._world.first:  # half a save would eat the room that the next one needs
                shutil.rmtree(staged, ignore_errors=True)

    @staticmethod
    def _complete(staged: Path, manifest: str) -> None:
        files = storage.digests_of(staged)
        (staged / MANIFEST).write_text(
            strict_json.document({**json.loads(manifest), "files": [file.wire() for file in files]}, sort=False)
        )
        storage.sync_tree(staged)

    def _make_room(self) -> None:
        """Remove the oldest checkpoints where the next one would find no room, but never the newest whole one."""
        whole = sorted(self._folder.glob(f"{PREFIX}*"), reverse=True)
        if not whole:
            return
        needed = MARGIN * sum(path.stat().st_size for path in whole[0].rglob("*") if path.is_file())
        for old in (*self._folder.glob(f"{DAMAGED}*"), *reversed(whole[1:])):
            if shutil.disk_usage(self._folder).free >= needed:
                return
            print(f"warning: the disk is short, {old.name} is removed before the next save", flush=True)
            shutil.rmtree(old, ignore_errors=True)

    def _prune(self) -> None:
        """Keep the last ones, and the best of those before them."""
        whole = sorted(self._folder.glob(f"{PREFIX}*"), reverse=True)
        scores = {folder: _score(folder) for folder in whole}
        judged = [folder for folder in whole if scores[folder] is not None]
        best = sorted(judged, key=lambda folder: scores[folder] or 0.0, reverse=True)[: self._keep_best]
        for old in (*(one for one in whole[self._keep_last :] if one not in best), *self._folder.glob(f"{DAMAGED}*")):
            shutil.rmtree(old, ignore_errors=True)

    def close(self) -> None:
        """Wait for the last save and end the thread."""
        self.wait()
        self._thread.shutdown()


def _score(folder: Path) -> float | None:
    try:
        found = json.loads((folder / MANIFEST).read_text()).get("score")
    except (OSError, ValueError):
        return None
    return float(found) if isinstance(found, int | float) else None


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        files = [FileDigest.model_validate(file) for file in manifest["files"]]
        if manifest["formatVersion"] != FORMAT_VERSION or not files:
            raise ValueError(f"format version {manifest['formatVersion']}")
        manifest["step"], manifest["madeFor"], manifest["state"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{folder / MANIFEST}: {error!r}") from error
    storage.verify(folder, files)
    return manifest


def _copied(value: Any) -> Any:
    """The same nest of containers with every tensor copied to the CPU: training goes on changing the originals."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value
