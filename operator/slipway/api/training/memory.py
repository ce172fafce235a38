"""Memory that a training process needs, and the cheapest strategy that fits. Pure arithmetic.

The operator chooses by it (`strategy: Auto`), and `python -m workloads plan` prints the same table on a laptop.

Sources
- ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054), sections 3.1 and 5: with P parameters, N processes and mixed
  precision Adam, 2P + 2P + 12P = 16P bytes; stage 1 divides the 12P, stage 2 also the gradients, stage 3 all by N.
- Reducing Activation Recomputation (Korthikanti et al. 2022, arXiv:2205.05198), equation 1: a transformer's layer keeps
  34 s b h bytes of activations, and 5 a s^2 b where attention's scores are kept; 2 s b h with full recomputation.
- ZeRO-Offload (Ren et al. 2021, arXiv:2101.06840): optimizer's state and parameters live in the node's memory.
"""

from dataclasses import dataclass
from enum import StrEnum

GIB = 2**30
# CUDA's context with its kernels, NCCL's buffers and cuBLAS's workspace: about so much before the first tensor.
CONTEXT_BYTES = 1 * GIB
# The allocator keeps blocks of sizes that nobody asks for any more.
FRAGMENTATION = 1.05
# FSDP has so many layers' parameters gathered at a time: the one at work and the one prefetched.
GATHERED_LAYERS = 2
# DeepSpeed's ZeRO-3 keeps what it has gathered as long as there is room for it, and prefetches into a buffer beside it:
# elements, by its configuration's defaults of stage3_max_live_parameters and stage3_prefetch_bucket_size.
LIVE_PARAMETERS = 10**9
PREFETCHED = 5 * 10**7
# Gradients travel in buckets; one of them exists twice meanwhile. DDP's is of 25 MiB, and two are under way;
# DeepSpeed keeps one of so many elements, also for a model that is smaller (its configuration's reduce_bucket_size).
BUCKET_BYTES = 50 * 10**6
DEEPSPEED_BUCKET = 5 * 10**8


class StrategyName(StrEnum):
    """Strategies, from the least communication to the least memory; Auto chooses one of the others."""

    AUTO = "Auto"
    DDP = "DDP"
    FSDP2 = "FSDP2"
    ZERO1 = "ZeRO1"
    ZERO2 = "ZeRO2"
    ZERO3 = "ZeRO3"
    ZERO3_OFFLOAD = "ZeRO3Offload"


STAGES = {
    StrategyName.DDP: 0,
    StrategyName.ZERO1: 1,
    StrategyName.ZERO2: 2,
    StrategyName.ZERO3: 3,
    StrategyName.ZERO3_OFFLOAD: 3,
    # torch's own way to partition parameters, gradients and state: only by name, since Auto's ZeRO-3 needs the same.
    StrategyName.FSDP2: 3,
}
DEEPSPEED = frozenset(STAGES) - {StrategyName.DDP, StrategyName.FSDP2}


@dataclass(frozen=True)
class Workload:
    """Training run in counts of elements, not bytes; `micro_batch` is of one process; 0 layers: no transformer."""

    parameters: int
    processes: int
    micro_batch: int = 1
    sixteen_bit: bool = True
    adam: bool = True
    # Bytes of optimizer's state and average for each parameter; None: momentum, and Adam's variance.
    moments: int | None = None
    layers: int = 0
    hidden: int = 0
    heads: int = 0
    sequence: int = 0
    vocabulary: int = 0
    # Attention's scores are kept: true for attention written out by hand, false for fused kernels.
    scores_kept: bool = False
    recompute: bool = False
    # What the user measured, for models that are no transformers.
    activation_bytes_per_sample: int = 0
    # Elements of DeepSpeed's reduce_bucket_size.
    bucket: int = DEEPSPEED_BUCKET
    # Samples that are evaluated at a time; 0: as many as in micro_batch, which never need more than training them.
    evaluation_batch: int = 0


@dataclass(frozen=True)
class Estimate:
    """Bytes of one process: on its GPU, and in the node's memory."""

    name: StrategyName
    device_bytes: int
    host_bytes: int
    fits: bool


def activations(work: Workload) -> int:
    """Bytes of activations of one process at the end of its forward pass."""
    width = 1 if work.sixteen_bit else 2
    tokens = work.micro_batch * work.sequence
    if work.recompute:
        # The inputs of all layers, and everything of the one that is computed anew.
        kept = 2 * tokens * work.hidden * work.layers + _layer(work, tokens)
    else:
        kept = work.layers * _layer(work, tokens)
    # The loss is computed in 32 bits: log-softmax, its gradient and the logits', beside the logits themselves.
    logits = tokens * work.vocabulary * (14 if work.sixteen_bit else 16)
    return kept * width + logits + work.micro_batch * work.activation_bytes_per_sample


def evaluation(work: Workload) -> int:
    """Bytes of one batch of held-out samples: one layer at a time, and the logits with their 32-bit log-softmax."""
    tokens = work.evaluation_batch * work.sequence
    logits = tokens * work.vocabulary * (10 if work.sixteen_bit else 8)
    kept = _layer(work, tokens) * (1 if work.sixteen_bit else 2)
    return kept + logits + work.evaluation_batch * work.activation_bytes_per_sample


def _layer(work: Workload, tokens: int) -> int:
    scores = 5 * work.heads * work.sequence * tokens if work.scores_kept else 0
    return 34 * tokens * work.hidden + scores


def states(work: Workload, name: StrategyName) -> tuple[int, int]:
    """Bytes of parameters, gradients and optimizer state of one process: (on the GPU, in the node's memory)."""
    count, share = work.parameters, work.parameters / work.processes
    low = 2 if work.sixteen_bit else 4
    # 32-bit master weights beside 16-bit ones (DeepSpeed: beside any), momentum, and Adam's variance.
    moments = (8 if work.adam else 4) if work.moments is None else work.moments
    optimizer = (4 if work.sixteen_bit or name in DEEPSPEED else 0) + moments
    stage = STAGES[name]
    parts = (
        low * (share if stage >= 3 else count),
        low * (share if stage >= 2 else count),
        optimizer * (share if stage >= 1 else count),
    )
    if name is StrategyName.ZERO3_OFFLOAD:
        return 0, int(sum(parts))
    return int(sum(parts)), 0


def gathered(work: Workload, name: StrategyName) -> int:
    """Bytes of the other processes' parameters that stage 3 brings together, at most."""
    if STAGES[name] < 3:
        return 0
    layers = min(work.parameters, GATHERED_LAYERS * work.parameters / max(1, work.layers))
    kept = min(work.parameters, LIVE_PARAMETERS) + min(work.parameters, PREFETCHED) if name in DEEPSPEED else 0
    return int(max(layers, kept) * (2 if work.sixteen_bit else 4))


def startup(work: Workload, name: StrategyName) -> int:
    """Bytes of one process on its GPU until its model is in place: what is cut up never lies there as a whole.

    DDP has 32-bit weights and buckets for their gradients, FSDP2 its part of the weights. DeepSpeed has its part in low
    precision, the 32-bit masters, and 32-bit gradients; the whole model, too, where it cuts no parameters.
    """
    count, share = work.parameters, work.parameters / work.processes
    low = 2 if work.sixteen_bit else 4
    if name is StrategyName.ZERO3_OFFLOAD:
        return 0
    if name is StrategyName.DDP:
        return (8 if work.processes > 1 else 4) * count
    if name is StrategyName.FSDP2:
        return int(4 * share)
    masters_and_gradients = 8 * share + _bucket(work, name)
    return int(low * share + masters_and_gradients if STAGES[name] >= 3 else max(4 * count, low * count + 8 * share))


def tensors(work: Workload, name: StrategyName) -> int:
    """Bytes of all tensors of one process on its GPU, when they are most: in the backward pass, or while the optimizer
    works on all parameters at once, or at the start.
    """
    device, _ = states(work, name)
    bucket = _bucket(work, name)
    running = (
        device
        + gathered(work, name)
        + max(activations(work) + bucket, evaluation(work), _step(work, name) + (bucket if STAGES[name] >= 3 else 0))
    )
    return max(startup(work, name), running)


def _step(work: Workload, name: StrategyName) -> int:
    """torch's optimizers keep intermediates of the parameters' size; DeepSpeed makes 32-bit gradients for it first."""
    if name is StrategyName.ZERO3_OFFLOAD:
        return 0
    share = work.parameters / (work.processes if STAGES[name] >= 1 else 1)
    return int(4 * share * (2 if name in DEEPSPEED else 1))


def _bucket(work: Workload, name: StrategyName) -> int:
    if name in DEEPSPEED:
        return work.bucket * (2 if work.sixteen_bit else 4)
    return min(BUCKET_BYTES, 4 * work.parameters) if work.processes > 1 else 0


def estimate(work: Workload, name: StrategyName, gpu_bytes: int) -> Estimate:
    """One row of the table."""
    _, host = states(work, name)
    needed = int(tensors(work, name) * FRAGMENTATION) + CONTEXT_BYTES
    return Estimate(name, needed, host, needed <= gpu_bytes)


def table(work: Workload, gpu_bytes: int) -> list[Estimate]:
    """All strategies, from the least communication to the least memory."""
    return [estimate(work, name, gpu_bytes) for name in STAGES if name is not StrategyName.FSDP2]


def cheapest(rows: list[Estimate]) -> Estimate | None:
    """The first that fits: each later one communicates more or waits for a slower memory."""
    return next((row for row in rows if row.fits), None)
