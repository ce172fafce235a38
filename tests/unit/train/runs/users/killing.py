"""Data sets of users' own code by which a training process kills itself, once, at a place that a test names.

The process is killed from inside, by SIGKILL, since no outsider hits a moment of some milliseconds: between two files
of an upload, after half of the weights, inside an evaluation, inside a checkpoint's write.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workloads.data import DataSet
from workloads.data.images import digits

AT, MARK = "KILL_AT", "KILL_MARK"


def data(limit: int = 640, **_known: Any) -> DataSet:
    """The digits; the process is killed at the KILL_AT of its environment unless KILL_MARK exists."""
    where, mark = os.environ.get(AT), Path(os.environ.get(MARK, "/nowhere"))
    if where and not mark.exists():
        PLACES[where.partition(":")[0]](int(where.partition(":")[2] or 0), mark)
    return digits.load(None)


def _kill(mark: Path) -> None:
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: Any, name: str, count: int, mark: Path, *, half: Callable[..., None] | None = None) -> None:
    """Kill in place of call number `count` of a function, from 0; `half` does a part of its work first."""
    whole, calls = getattr(owner, name), [0]

    def counted(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] > count:
            if half is not None:
                half(*arguments)
            _kill(mark)
        return whole(*arguments, **named)

    setattr(owner, name, staticmethod(counted) if name == "_complete" else counted)


def _upload(count: int, mark: Path) -> None:
    """Before file `count` of an upload."""
    from workloads.storage import object_stores

    _before(object_stores.of("s3://bucket")[0], "put_file", count, mark)  # of which there is one instance


def _tidying(_count: int, mark: Path) -> None:
    """After artifact.json, before the list of the upload is removed."""
    from workloads.storage import object_stores

    files, _ = object_stores.of("s3://bucket")
    whole = files.rm_file

    def removed(path: str, *more: Any) -> Any:
        if path.endswith(object_stores.UPLOAD_FILE):
            _kill(mark)
        return whole(path, *more)

    files.rm_file = removed


def _rehearsed(count: int, mark: Path) -> None:
    """When the rehearsal's artifact is written, before it gets its name."""
    from workloads.storage import uris

    _before(uris, "plain_rights", count, mark)


def _first_write(_count: int, mark: Path) -> None:
    """After half of model.safetensors: of the rehearsal's, which is the first thing that is written."""
    import safetensors.torch

    def half(_tensors: Any, path: Any, *_more: Any) -> None:
        Path(path).write_bytes(bytes(100))

    _before(safetensors.torch, "save_file", 0, mark, half=half)


def _publication(_count: int, mark: Path) -> None:
    """When the artifact is staged whole, before it gets its name."""
    from workloads.storage import placement

    whole = placement.replace

    def killed(uri: str, *more: Any) -> Any:
        if "slipway-rehearsal" not in uri:
            _kill(mark)
        return whole(uri, *more)

    placement.replace = killed


def _evaluation(count: int, mark: Path) -> None:
    """In a batch of an evaluation."""
    from workloads.train.tasks.classify import Classification

    _before(Classification, "sums", count, mark)


def _checkpoint(count: int, mark: Path) -> None:
    """When a checkpoint's tensors are written, before its manifest."""
    from workloads.train.checkpoints.checkpoint import Checkpoints

    _before(Checkpoints, "_complete", count, mark)


def _best(_count: int, mark: Path) -> None:
    """When the best weights so far are written, before they get their name."""
    from workloads.train.checkpoints import best_weights

    def half(_tensors: Any, path: Any, *_more: Any) -> None:
        Path(path).write_bytes(bytes(100))

    _before(best_weights, "save_file", 0, mark, half=half)


PLACES = {
    "upload": _upload,
    "tidying": _tidying,
    "rehearsed": _rehearsed,
    "first-write": _first_write,
    "publication": _publication,
    "evaluation": _evaluation,
    "checkpoint": _checkpoint,
    "best": _best,
}
