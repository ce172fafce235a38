"""Declaration of torchvision's operators where its compiled part is for another build of torch.

PyPI's torchvision for Linux is built for CUDA; beside a torch for CPUs, as machines without GPUs have, it cannot be
imported at all, and neither can timm, nor transformers, which takes it along. Models and transforms need none of its
kernels, only that the names are known. Copied into an environment's site-packages, with a .pth file that imports it at
the start of Python; it does nothing until torchvision is imported, and nothing where the compiled part can be loaded.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
KEPT: list[object] = []  # a library's declarations end with it


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finder that finds nothing: it is asked when torchvision is about to be imported, once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Declare the operators before torchvision is looked for."""
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def _declare() -> None:
    spec = importlib.machinery.PathFinder.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return
    import torch

    compiled = [*Path(spec.submodule_search_locations[0]).glob("_C*.so")]
    try:
        for library in compiled:
            torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library("torchvision", "DEF")
        for operator in OPERATORS:
            declared.define(operator)
        KEPT.append(declared)


if not any(type(one).__name__ == BeforeTorchvision.__name__ for one in sys.meta_path):
    sys.meta_path.insert(0, BeforeTorchvision())
