"""Horovod: gradients are averaged by its own rings as they become ready. For jobs that horovodrun starts.

Everything else (checkpoints, evaluation, agreement on stopping) goes over a torch group of the same processes, whose
meeting point Horovod passes around.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch._C._distributed_c10d import Store, TCPStore

from slipway.api.training.recipe import Compression
from workloads.errors import BadInput
from workloads.libraries import optional
from workloads.pod.environment import Place
from workloads.train.optimisation import build_optimizer
from workloads.train.strategies.base import Read, Single, State
from workloads.train.world import TIMEOUT, World


class Horovod(Single):
    """`DistributedOptimizer` around torch's optimizer."""

    name = "horovod"

    def setup(self, place: Place) -> World:
        """Meet the other processes by Horovod's own variables; HOROVOD_SIZE is not set for one process alone."""
        self._hvd = _library()
        require_gpu_operations(self._hvd, cuda=torch.cuda.is_available())
        self._hvd.init()
        found = Place(self._hvd.rank(), self._hvd.size(), self._hvd.local_rank(), self._hvd.local_size())
        self.world = World(found, store=self._meet(found) if found.size > 1 else None)
        return self.world

    def _meet(self, place: Place) -> Store:
        """A store in the first process, at a port that was free."""
        store: Store | None = None
        where = ("", 0)
        if place.rank == 0:
            host = os.environ.get("HOROVOD_HOSTNAME") or socket.gethostname()
            if place.local_size == place.size:
                host = "127.0.0.1"
            first = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
            store, where = first, (host, first.port)
        where = self._hvd.broadcast_object(where, root_rank=0)
        return store or TCPStore(where[0], where[1], is_master=False, timeout=TIMEOUT)

    def _spread(self, model: nn.Module) -> nn.Module:
        self._hvd.broadcast_parameters(model.state_dict(), root_rank=0)
        return model

    def _optimizer(self) -> torch.optim.Optimizer:
        compression = self._hvd.Compression
        wanted = self.recipe.gradient_compression
        found: torch.optim.Optimizer = self._hvd.DistributedOptimizer(
            build_optimizer(self.recipe.optimizer, self.model),
            named_parameters=self.model.named_parameters(),
            compression=compression.fp16 if wanted is Compression.FP16 else compression.none,
            op=self._hvd.Average,
            backward_passes_per_step=self.recipe.gradient_accumulation_steps,
        )
        return found

    def step(self, rate: float) -> None:
        """Wait for the averages first: they are what is clipped."""
        optimizer: Any = self.optimizer
        optimizer.synchronize()
        with self._alone():
            super().step(rate)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Context in which a step exchanges nothing."""
        optimizer: Any = self.optimizer
        if self.world.size == 1:
            return contextlib.nullcontext()
        alone: contextlib.AbstractContextManager[None] = optimizer.skip_synchronize()
        return alone

    @contextlib.contextmanager
    def _plain(self) -> Iterator[None]:
        """torch's own optimizer with the same moments: its state dicts pass arguments that Horovod's does not take."""
        distributed = self.optimizer
        self.optimizer = build_optimizer(self.recipe.optimizer, self.model)
        self.optimizer.state = distributed.state
        try:
            yield
        finally:
            distributed.state = self.optimizer.state
            self.optimizer = distributed

    def save(self) -> State:
        """State of model and optimizer, as of any other strategy, by torch's own optimizer."""
        with self._plain():
            return super().save()

    def load(self, read: Read, rehearse: Callable[[], torch.Tensor]) -> None:
        """Load a state, as any other strategy does, by torch's own optimizer."""
        with self._plain():
            super().load(read, rehearse)

    def teardown(self) -> None:
        """Wait for the others, then leave Horovod's ring."""
        super().teardown()
        self._hvd.shutdown()


def require_gpu_operations(library: Any, *, cuda: bool) -> None:
    """BadInput for a Horovod that cannot average what lies on this node's GPUs: built without CUDA, as our image's is.

    Its first average of a CUDA tensor would be an AttributeError.
    """
    if cuda and not (library.cuda_built() or library.rocm_built() or library.nccl_built()):
        raise BadInput(
            "this image's Horovod was built without GPU operations, and this node's GPUs would not be used: take "
            "launcher torchrun, or an image whose Horovod was built where nvcc is (HOROVOD_GPU_OPERATIONS=NCCL)"
        )


def _library() -> Any:
    remedy = "use an image that has it (release 0.28.1 builds with CMAKE_CXX_STANDARD 17), or another launcher"
    return optional("horovod.torch", "this job asks for Horovod", remedy)
