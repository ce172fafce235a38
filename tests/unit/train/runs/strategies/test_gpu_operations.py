"""Horovod on a node with GPUs: built without their operations it would not use them, and its first step would fail."""

from types import SimpleNamespace

import pytest

from workloads.errors import BadInput
from workloads.train.strategies.horovod import require_gpu_operations


def built(**kinds: bool) -> SimpleNamespace:
    """Answers of a Horovod about its own build; the one of our image says no to all three."""
    known = {"cuda": False, "rocm": False, "nccl": False, **kinds}
    return SimpleNamespace(**{f"{name}_built": (lambda value=value: value) for name, value in known.items()})


def test_a_horovod_without_gpu_operations_is_refused_beside_gpus() -> None:
    with pytest.raises(BadInput, match=r"built without GPU operations.* take launcher torchrun"):
        require_gpu_operations(built(), cuda=True)
    require_gpu_operations(built(), cuda=False)
    require_gpu_operations(built(cuda=True, nccl=True), cuda=True)


def test_our_builds_answers_have_these_names() -> None:
    library = pytest.importorskip("horovod.torch")
    require_gpu_operations(library, cuda=False)
    assert [library.cuda_built(), library.rocm_built(), bool(library.nccl_built())] == [False] * 3
