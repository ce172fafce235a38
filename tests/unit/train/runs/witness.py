"""A user's own data set for tests: the digits, and a log of which samples each process was given, in their order."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slipway.api.common.sources import DatasetChoice
from workloads import data


@dataclass(frozen=True)
class Watched:
    """Appends a line per batch; what a killed process has written stays written."""

    whole: Any
    log: Path

    def __len__(self) -> int:
        return len(self.whole)

    def batch(self, indices: Sequence[int]) -> Any:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (json.dumps([int(index) for index in indices]) + "\n").encode())
        os.close(descriptor)
        return self.whole.batch(indices)


def digits(log: str, limit: int) -> data.DataSet:
    """`log` is a folder; each process writes its own file, anew for each of its lives."""
    found = data.load(DatasetChoice(name="digits", limit=limit))  # type: ignore[arg-type]
    path = Path(log) / f"{os.environ['LIFE']}-{os.environ.get('RANK', '0')}.jsonl"
    return replace(found, training=Watched(found.training, path))


def read(folder: Path, life: int, rank: int) -> list[list[int]]:
    """The batches of one life of one process."""
    path = folder / f"{life}-{rank}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
