"""DeepSpeed's ZeRO, stages 0 to 3: optimizer state, gradients, parameters are cut up, kept in host memory or on disk.

The optimizer is torch's own, so that nothing is compiled on the nodes; DeepSpeed's CPU Adam where its kernel was built
into the installation. Under bf16 and fp16 DeepSpeed keeps 16-bit weights with 32-bit masters, and no autocast is used.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from slipway.api.training.learning.optimizer import OptimizerName
from slipway.api.training.recipe import Recipe
from workloads.errors import BadInput
from workloads.libraries import extra, optional
from workloads.pod.environment import Place
from workloads.train.initial_values import Values
from workloads.train.optimisation import build_optimizer, parameter_groups
from workloads.train.optimisation.optimizers import adam_constants
from workloads.train.performance_options import prepare
from workloads.train.strategies import zero_state
from workloads.train.strategies.base import Read, Single, State
from workloads.train.world import World

# Addresses of direct I/O are multiples of it.
DISK_BYTES = 512


class Zero(Single):
    """One DeepSpeed engine."""

    compresses = False
    holds_zeros = False

    def __init__(self, recipe: Recipe, config: dict[str, Any]) -> None:
        super().__init__(recipe)
        self._config = config
        zero = config.get("zero_optimization", {})
        parts = ("offload_optimizer", "offload_param")
        self._offloaded = [zero[part]["device"] for part in parts if part in zero]
        # Of parameters on a disk DeepSpeed wants to begin by itself.
        self.cuts = zero.get("stage") == 3 and "nvme" not in self._offloaded
        offload = f" offload {'/'.join(self._offloaded)}" if self._offloaded else ""
        self.name = f"zero-{zero.get('stage', 0)}{offload}"

    def setup(self, place: Place) -> World:
        """A group even of one process: DeepSpeed talks to it in any case."""
        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        # DeepSpeed asks for it by this name; one process without a launcher has none, other launchers have others.
        os.environ.setdefault("LOCAL_RANK", str(place.local_rank))
        self._deepspeed = _library()
        if "nvme" in self._offloaded:
            _require_disk_kernel()
        self.world = World(place, grouped=True)
        return self.world

    def wrap(self, model: nn.Module, values: Values | None = None) -> None:
        """Put the model into an engine; it stays the same module."""
        self.values = values
        compiled = self.recipe.compile
        model = prepare(model, self.recipe.model_copy(update={"compile": False}))
        optimizer = self._optimizer_of(model)  # before parameters are cut and have no shape of their own
        placed = self._cut(model) if self.cuts else model.to(self.world.device)
        if values is not None:
            values.close(self.world)
        self._engine, *_ = self._deepspeed.initialize(model=placed, optimizer=optimizer, config=self._config)
        if "nvme" in self._offloaded:
            _require_alignment(self._engine.optimizer)
        if compiled:
            self._engine.compile()
        self.model = self._engine.module
        self.optimizer = self._engine.basic_optimizer

    def _cut(self, model: nn.Module) -> nn.Module:
        """Cut the parameters: each goes to the device alone and leaves a part there. The whole of them need not fit."""
        backend = importlib.import_module("deepspeed.accelerator").get_accelerator().communication_backend_name()
        self._deepspeed.init_distributed(dist_backend=backend)  # as `initialize` does; torch's group is there already
        model.to(self._dtype)  # as the engine would, before it cuts
        with torch.no_grad():
            for some in zero_state.portions(model):
                for name, parameter in some:
                    if parameter.is_meta:
                        value = torch.empty_like(parameter, device=self.world.device)
                        self._fill(name, value)
                        swap: Callable[..., None] = torch.utils.swap_tensors
                        swap(parameter, nn.Parameter(value, parameter.requires_grad))
                few = nn.ParameterList([parameter for _, parameter in some])
                self._deepspeed.zero.Init(module=few, config_dict_or_path=self._config, dtype=self._dtype)
        for buffer in model.buffers():
            buffer.data = buffer.data.to(self.world.device)
        return model

    def _optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        offload = self._config.get("zero_optimization", {}).get("offload_optimizer")
        choice = self.recipe.optimizer
        if offload and choice.name is OptimizerName.ADAMW and not choice.amsgrad and _built("cpu_adam"):
            adam = importlib.import_module("deepspeed.ops.adam").DeepSpeedCPUAdam
            found: torch.optim.Optimizer = adam(parameter_groups(choice, model), **adam_constants(choice))
            return found
        return build_optimizer(choice, model)

    def forward(self, inputs: torch.Tensor, *, last: bool = True) -> Any:
        """Outputs for inputs in the engine's dtype; integers stay as they are."""
        if inputs.is_floating_point():
            inputs = inputs.to(self._dtype)
        return self._engine(inputs) if self.model.training else self.model(inputs)

    @property
    def _dtype(self) -> torch.dtype:
        for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
            if self._config.get(name, {}).get("enabled"):
                return dtype
        return torch.float32

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Run the engine's backward pass; the loop has divided the loss by the parts of a step already."""
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss, scale_wrt_gas=False)
        if not last:
            self._engine.step()

    def step(self, rate: float) -> None:
        """Make a step of the engine, which clips by its own configuration."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._engine.step()

    def save(self) -> State:
        """State, gathered one parameter at a time; each is kept by one process only."""
        if not zero_state.partitioned(self.model):
            return super().save()
        self._link()
        return zero_state.gather(self.model, self.optimizer, self.world)

    def load(self, read: Read, rehearse: Callable[[], torch.Tensor]) -> None:
        """Load a saved state: a step of gradients that are zero makes the moments; then they are filled."""
        if not zero_state.partitioned(self.model):
            super().load(read, rehearse)
            return
        self.backward(rehearse() * 0.0, last=True)
        self.step(0.0)
        self._link()
        zero_state.scatter(self.model, self.optimizer, self.world, read)

    def _link(self) -> None:
        """Let DeepSpeed find the moments of all parameter groups.

        Stages 1 and 2 of 0.19 do so once, after the first group's first step, when the other groups have none yet.
        """
        optimizer = self._engine.optimizer
        if hasattr(optimizer, "_hp_optimizer_states_linked"):
            optimizer._hp_optimizer_states_linked = False
            optimizer._lazy_init_hp_params_optimizer_state()

    def scaling(self) -> dict[str, Any]:
        """DeepSpeed's own loss scale."""
        scaler = getattr(self._engine.optimizer, "loss_scaler", None)
        if self._dtype is not torch.float16 or scaler is None:
            return {}
        return {name: value for name, value in vars(scaler).items() if isinstance(value, int | float)}

    def scale(self, scaling: dict[str, Any]) -> None:
        """Restore DeepSpeed's own loss scale."""
        scaler = getattr(self._engine.optimizer, "loss_scaler", None)
        if self._dtype is torch.float16 and scaler is not None:
            vars(scaler).update(scaling)

    def weights(self) -> dict[str, torch.Tensor]:
        """The 32-bit masters, gathered for the first process."""
        if not zero_state.partitioned(self.model):
            return super().weights()
        return zero_state.whole(self.model, first=self.world.first)


def _library() -> Any:
    deepspeed = optional("deepspeed", "this job asks for DeepSpeed", extra("deepspeed"))
    operations = importlib.import_module("deepspeed.ops")
    # Found "compatible", it would be compiled when the engine starts: minutes, and no compiler in the image.
    if not _built("deepspeed_shm_comm"):
        operations.__compatible_ops__["deepspeed_shm_comm"] = False
    importlib.import_module("deepspeed.utils").logger.setLevel("WARNING")
    return deepspeed


def _require_disk_kernel() -> None:
    """Require DeepSpeed's kernel for disks: built into the installation, or such that it can be compiled here."""
    builder = importlib.import_module("deepspeed.ops.op_builder").AsyncIOBuilder()
    if not _built("async_io") and not builder.is_compatible(verbose=False):
        raise BadInput(
            "offload to nvme needs DeepSpeed's async_io, which is not in this installation and cannot be compiled here "
            "(libaio's header): use an image built with libaio-dev and DS_BUILD_AIO=1, or offload to cpu"
        )


def _require_alignment(optimizer: Any) -> None:
    """Require that every gradient that goes to the disk begins at a multiple of DISK_BYTES in its group.

    DeepSpeed 0.19 reads it back, past the page cache, to that address; where it is none of these the read fails, nobody
    looks, and the step is made with what the buffer held before: the loss falls, but slowly.
    """
    if not getattr(optimizer, "swap_optimizer", False):
        return
    size = optimizer.optimizer_swapper.swap_element_size
    for group, begin, count in optimizer.grad_position.values():
        swapped = optimizer._swappable_optimizer_subgroup(group) and optimizer.optimizer_swapper.is_swappable_tensor(
            numel=count
        )
        if swapped and begin * size % DISK_BYTES:
            raise BadInput(
                "with this configuration DeepSpeed would train on wrong gradients, which it cannot read back from "
                "the disk: set zero_optimization.sub_group_size to 1"
            )


def _built(operation: str) -> bool:
    """Tell whether the kernel came with the installation, compiled."""
    installed: dict[str, bool] = importlib.import_module("deepspeed.git_version_info").installed_ops
    return bool(installed.get(operation))
