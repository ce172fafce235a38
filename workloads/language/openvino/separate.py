"""OpenVINO in a process of its own: models are written, judged and asked for probes there; its end is not the job's.

Processes that had run it were seen to die later by a segmentation fault in a thread of the library, long after the last
call: a job would have lost what it had worked out since. The process ends with its owner, however that ends.
"""

import multiprocessing
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from workloads.language.openvino import engine, writer
from workloads.language.probes import Probes

if TYPE_CHECKING:
    import torch

P = ParamSpec("P")
R = TypeVar("R")

_graph: engine.Paged | None = None


class EngineEndedError(RuntimeError):
    """End of OpenVINO's process in the middle of its work. Another attempt may go well."""

    def __init__(self) -> None:
        super().__init__(
            "OpenVINO's process ended in the middle of its work, as one does that the kernel ends for want of memory: "
            "raise worker.resources.limits.memory, or shorten maxLength of the data sets"
        )


class Paged:
    """Logits of whole texts by `engine.Paged`, which is held by a process of its own."""

    def __init__(self, folder: Path, cache: str = "f16") -> None:
        """`cache`: number format of keys and values, as f16, u8. Unavailable for what OpenVINO cannot compile."""
        self._process = _process()
        weakref.finalize(self, self._process.shutdown, wait=False)
        _result(self._process.submit(_open, folder, cache))

    def each(self, documents: "Sequence[torch.Tensor]") -> "Iterator[torch.Tensor]":
        """Logits [length, vocabulary] of each document, int64 [1, length]."""
        import torch

        for ids in documents:
            yield torch.from_numpy(_result(self._process.submit(_logits, ids[0].numpy())))


def write(folder: Path, out: Path, adapter: Path | None = None) -> None:
    """Write OpenVINO's folder: see `writer.write_openvino`."""
    apart(writer.write_openvino, folder, out, adapter)


def answers(
    folder: Path, prompts: Sequence[Sequence[int]], count: int, cache: str = "f16"
) -> list[tuple[list[int], list[float]]]:
    """Greedy answers of `count` tokens: see `engine.answers`."""
    return apart(engine.answers, folder, prompts, count, cache)


def measured(folder: Path, prompts: Sequence[Sequence[int]], cache: str = "f16") -> Probes:
    """Probes of a folder: see `engine.measured`."""
    return apart(engine.measured, folder, prompts, cache)


def apart(work: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
    """Result of a function of a module, in a process of its own, or what it raises. One process does all such calls."""
    try:
        return _result(_shared().submit(work, *args, **named))
    except EngineEndedError:
        _shared.cache_clear()
        raise


def _result(future: "Future[R]") -> R:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise EngineEndedError from error


@cache
def _shared() -> ProcessPoolExecutor:
    return _process()


def _process() -> ProcessPoolExecutor:
    # Forked from a server without threads: what libraries' threads hold at that moment would stay locked for ever.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([writer.__name__, engine.__name__])
    return ProcessPoolExecutor(1, context, _end_with_owner)


def _end_with_owner() -> None:
    def watch() -> None:
        owner = multiprocessing.parent_process()
        if owner is not None:
            owner.join()
        os._exit(0)

    threading.Thread(target=watch, name="owner", daemon=True).start()


def _open(folder: Path, cache: str) -> None:
    global _graph  # noqa: PLW0603 (one graph in a process that is made for it)
    _graph = engine.Paged(folder, cache)


def _logits(ids: Any) -> Any:
    assert _graph is not None  # noqa: S101 (opened before)
    return _graph.logits(ids)
