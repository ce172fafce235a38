"""Launchers, which start the processes of a node, and their settings. Read by the launchers of trainingjob/."""

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from slipway.api.common.base import Model, Rule
from slipway.api.common.types import AbsolutePath
from slipway.api.training.recipe import Precision

AUTO = "auto"
PROC_COUNT = "^(auto|[1-9][0-9]{0,2})$"


def _proc_count(value: Any) -> int | str:
    if value == AUTO or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 999):
        return value  # type: ignore[no-any-return]
    if isinstance(value, str) and re.fullmatch(PROC_COUNT, value):
        return int(value)
    raise ValueError("must be auto or a number from 1 to 999")


ProcCount = Annotated[
    int | str,
    PlainValidator(_proc_count),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "pattern": PROC_COUNT, "maxLength": 4, "minimum": 1, "maximum": 999}
    ),
]


class LauncherName(StrEnum):
    """The launchers that come with Slipway."""

    TORCHRUN = "torchrun"
    DEEPSPEED = "deepspeed"
    HOROVODRUN = "horovodrun"
    MPIRUN = "mpirun"
    PLAIN = "plain"
    RAY = "ray"


# Somebody else's launcher has a domain in its name, as resources and labels of somebody else's have.
LAUNCHER = "^(" + "|".join(LauncherName) + r"|[a-z0-9]([-a-z0-9.]*[a-z0-9])?\.[a-z]+/[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"
Launcher = Annotated[str, Field(min_length=1, max_length=127, pattern=LAUNCHER)]


class OffloadDevice(StrEnum):
    """Device where DeepSpeed keeps what does not fit the GPU."""

    CPU = "cpu"
    NVME = "nvme"


class Offload(Model):
    """Offload of DeepSpeed's data from the GPU: the device, its path, and whether memory is page-locked."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.device == 'nvme') == has(self.nvmePath)",
            "nvmePath belongs to device nvme: set both or neither",
            lambda offload: (offload.device == OffloadDevice.NVME) == (offload.nvme_path is not None),
        ),
    )
    device: OffloadDevice = Field(description="cpu: the node's memory. nvme: a disk at nvmePath.")
    pin_memory: bool = Field(False, description="Page-locked memory: faster copies, and memory nobody else can use.")
    nvme_path: AbsolutePath | None = Field(
        None, description="A folder on a fast disk; scratch space of the node unless pod.volumeMounts has it."
    )


class ZeroLauncher(StrEnum):
    """Launcher of DeepSpeed's processes."""

    TORCHRUN = "torchrun"
    PDSH = "pdsh"


# Of DeepSpeed's configuration, what other fields of the job say, and what Slipway needs to be as it is.
OWN_KEYS = (
    "train_batch_size|train_micro_batch_size_per_gpu|gradient_accumulation_steps|gradient_clipping|optimizer|scheduler"
    "|bf16|fp16|bfloat16|steps_per_print|zero_allow_untested_optimizer|zero_force_ds_cpu_optimizer|checkpoint|elasticity"
    "|autotuning|data_efficiency|hybrid_engine"
    "|zero_optimization[.](stage|offload_optimizer|offload_param|cpu_offload|cpu_offload_params|sub_group_size"
    "|stage3_gather_16bit_weights_on_model_save)"
)
_OWN = f"^(zero_optimization|({OWN_KEYS})([.].*)?)$"
_KEY = "^[a-z0-9_]+([.][a-z0-9_]+)*$"
ConfigKey = Annotated[str, Field(pattern=_KEY, max_length=128)]


class DeepSpeed(Model):
    """DeepSpeed's settings; they are rendered to ds_config.json, whose path is in SLIPWAY_DEEPSPEED_CONFIG."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.offloadParam) || (has(self.zeroStage) && self.zeroStage == 3)",
            "offloadParam needs the parameters to be partitioned: set zeroStage to 3",
            lambda ds: ds.offload_param is None or ds.zero_stage == 3,
        ),
        Rule(
            "!has(self.offloadOptimizer) || (has(self.zeroStage) && self.zeroStage >= 1)",
            "offloadOptimizer needs the optimizer's state to be partitioned: set zeroStage to 1, 2 or 3",
            lambda ds: ds.offload_optimizer is None or (ds.zero_stage or 0) >= 1,
        ),
        Rule(
            f"!has(self.config) || self.config.all(k, size(k) <= 128 && k.matches('{_KEY}'))",
            "config has DeepSpeed's own names, with dots between their parts: zero_optimization.overlap_comm",
        ),
        Rule(
            f"!has(self.config) || self.config.all(k, !k.matches('{_OWN}'))",
            "config holds what other fields say or Slipway sets (batch sizes, precision, clipping, optimizer, "
            "scheduler, stage, offload, sub_group_size): use those fields, or remove it",
            lambda ds: not any(re.fullmatch(_OWN, key) for key in ds.config),
        ),
    )
    launcher: ZeroLauncher = Field(
        ZeroLauncher.TORCHRUN, description="torchrun on each node, or deepspeed on node 0 with a hostfile and pdsh."
    )
    zero_stage: Annotated[int, Field(ge=0, le=3)] | None = Field(
        None, description="What is partitioned: 1 optimizer, 2 and gradients, 3 and parameters; strategy's choice or 0."
    )
    offload_optimizer: Offload | None = Field(None, description="Where the optimizer's state goes.")
    offload_param: Offload | None = Field(None, description="Where the parameters go.")
    precision: Precision | None = Field(None, description="The recipe's, or bf16.")
    train_micro_batch_size_per_gpu: Annotated[int, Field(ge=1, le=1048576)] | None = Field(
        None, description="Samples per process and pass; follows from the recipe, or 1."
    )
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Passes per optimizer step; the recipe's, or 1."
    )
    train_batch_size: Annotated[int, Field(ge=1, le=1073741824)] | None = Field(
        None, description="Samples per optimizer step; must be micro batch x accumulation x processes."
    )
    gradient_clipping: Annotated[float, Field(gt=0, le=1000000)] | None = Field(
        None, description="Largest norm of the gradient; the recipe's, or none."
    )
    config: Annotated[dict[ConfigKey, Annotated[str, Field(max_length=1024)]], Field(max_length=64)] = Field(
        default_factory=dict,
        description="Further keys of DeepSpeed's configuration, dots between their parts; values are JSON or words.",
    )


class MpiImplementation(StrEnum):
    """MPI implementation of the image's mpirun: host files and settings differ between them."""

    OPEN_MPI = "OpenMPI"
    INTEL = "Intel"
    MPICH = "MPICH"


class Mpi(Model):
    """mpirun's settings."""

    implementation: MpiImplementation = Field(MpiImplementation.OPEN_MPI, description="Whose mpirun the image has.")


RAY_RULES = (
    Rule(
        "self.launcher != 'ray' || !has(self.recipe)",
        "launcher ray runs a program of your own as its driver: set trainer.command, or launcher to torchrun",
        lambda spec: spec.launcher != LauncherName.RAY or spec.recipe is None,
    ),
    Rule(
        "self.launcher != 'ray' || (type(self.numProcPerNode) == string && self.numProcPerNode == 'auto')",
        "Ray starts its own processes, by what each of them asks for: remove numProcPerNode",
        lambda spec: spec.launcher != LauncherName.RAY or spec.num_proc_per_node == AUTO,
    ),
    Rule(
        "self.launcher != 'ray' || !self.network.hostNetwork",
        "Ray's ports are the same in all jobs, and no two could have them on one node: remove network.hostNetwork",
        lambda spec: spec.launcher != LauncherName.RAY or not spec.network.host_network,
    ),
)
