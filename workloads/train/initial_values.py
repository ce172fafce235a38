"""Initial values of a model that is cut up: built once on each node, written to a file, and read in parts.

A process of its own builds the whole model, as every process does under other strategies: the same seed, the same
code, the same values. It ends before the training begins, and its memory with it. Weights in safetensors files whose
names and shapes are the model's are read where they lie, and nobody builds anything.
"""

import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn

from workloads import tied_tensors
from workloads.errors import TOLD, BadInput
from workloads.models.weight_parts import WeightParts
from workloads.train.world import World

FILE = "model.safetensors"
ROOM = "SLIPWAY_CACHE_DIR"
MARGIN = 1.1  # of the model's bytes on the disk

Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Values:
    """Values of a model's parameters. `folder`: to be removed when all processes of the node have read."""

    parts: WeightParts
    folder: Path | None = None

    def fill(self, name: str, target: torch.Tensor) -> None:
        """Copy the values of a parameter into a tensor, or into this process's part of one."""
        self.parts.fill(name, target)

    def whole(self, name: str) -> torch.Tensor:
        """All values of a parameter, on the CPU."""
        place = self.parts.places[name]
        return self.parts.rows(name, 0, place.shape[0] if place.shape else 1).reshape(place.shape)

    def close(self, world: World) -> None:
        """Remove what was written, by all processes together: the last one may still read."""
        world.barrier()
        if self.folder is not None and world.local_rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)


def of_node(world: World, model: nn.Module, build: Build) -> Values | None:
    """Values of `model`, which has no memory, as `build` would have made them. Called by all processes together.

    None where a node's processes share no folder with room for them. BadInput and the like as `build` raises them.
    """
    size = sum(one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers()))
    error: Exception | None = None
    folder: str | None = None
    if world.local_rank == 0:
        try:
            folder = _built(size, build)
        except TOLD as found:
            error = found
    told: list[tuple[str | None, Exception | None]] = [(folder, error)] * world.size
    if world.size > 1:
        dist.all_gather_object(told, (folder, error))
    refused = next((one for _, one in told if one is not None), None)
    if refused is not None:
        raise refused
    shared = told[world.rank - world.local_rank][0]
    blind = shared is None or not (Path(shared) / FILE).is_file()
    if world.any(blind).result() or shared is None:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return None
    return Values(WeightParts([Path(shared) / FILE]), Path(shared))


def _built(size: int, build: Build) -> str | None:
    """Folder in which another process has written the model; None without room."""
    root = os.environ.get(ROOM) or tempfile.gettempdir()
    try:
        folder = tempfile.mkdtemp(prefix="slipway-initial-", dir=root)
        if shutil.disk_usage(folder).free < MARGIN * size:
            raise OSError(f"{root} has no room for {size / 1e9:.1f} GB")
    except OSError as error:
        print(f"warning: each process builds the whole model in memory first ({ROOM}: {error})", flush=True)
        return None
    try:
        _in_another_process(build, Path(folder) / FILE)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _in_another_process(build: Build, path: Path) -> None:
    # Forked: the job's data is read already, and `build` has what it needs. The child computes on the CPU alone.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_write, args=(build, path, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        error = ours.recv()
    except EOFError:
        child.join()
        error = BadInput(
            f"the process that builds the model ended by itself ({child.exitcode}): is the node's memory large enough "
            "for one whole model in 32 bits?"
        )
    child.join()
    if error is not None:
        raise error


def _write(build: Build, path: Path, answer: Connection) -> None:
    """Build and write the model. Answers with the error that kept it from that, or None."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the trainer answers it
    torch.set_num_threads(1)  # of a forked process the threads of the pool are gone
    error: Exception | None = None
    try:
        model = build()
        save_file(tied_tensors.written({**model.state_dict(), **dict(model.named_buffers())}), path)
    except TOLD as found:
        error = found
    except Exception as found:
        import traceback

        traceback.print_exc()
        error = BadInput(f"the model cannot be built: {type(found).__name__}: {found}")
    answer.send(error)
    answer.close()
