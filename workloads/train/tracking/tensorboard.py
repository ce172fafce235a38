"""TensorBoard's event files: of the whole run in the artifact, and beside the checkpoints while it goes on.

The artifact's are made of the rows and the curve that checkpoints keep, so a run that was killed has no gap and nothing
twice; those beside the checkpoints are for `tensorboard --logdir` in the meantime.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workloads.train.tracking import scalars
from workloads.train.tracking.tracker import Run, warn

FOLDER = "tensorboard"


def files(run: Run, history: Sequence[Mapping[str, Any]], curve: Sequence[tuple[int, float]]) -> dict[str, bytes]:
    """Event files of a run by their path in the artifact; none where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        warn(f"no event files for TensorBoard, which is not installed here ({error})")
        return {}
    with tempfile.TemporaryDirectory(prefix="slipway-events-") as folder:
        with SummaryWriter(folder) as writer:
            _describe(writer, run)
            for step, loss in curve:
                writer.add_scalar(scalars.LOSS, loss, step)
            for row in history:
                for name, value in scalars.of_row(row).items():
                    writer.add_scalar(name, value, row["step"])
        # Not under the machine's name, which the file has by itself; the number is the time it was made.
        named = {f"{'.'.join(path.name.split('.')[:4])}.{run.name}": path for path in sorted(Path(folder).iterdir())}
        return {f"{FOLDER}/{name}": path.read_bytes() for name, path in named.items()}


def _describe(writer: Any, run: Run) -> None:
    rows = [*scalars.flattened(run.settings), *run.tags.items()]
    table = "\n".join(["| name | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    writer.add_text("run", table, 0)


class Events:
    """Tracker that writes events as they come. A disk that is full costs the events alone."""

    lost = 0

    def __init__(self, folder: Path, run: Run, resumed: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier process wrote after its last checkpoint happens again: TensorBoard drops it.
        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=resumed + 1 if resumed is not None else None)
        if resumed is None:
            _describe(self._writer, run)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write some figures of a step; its thread puts them on the disk."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def end(self, state: str, tags: Mapping[str, str], patience: float) -> None:
        """Close the file."""
        del state, tags, patience
        self._writer.close()
