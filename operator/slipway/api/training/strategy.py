"""Spread of parameters, gradients and optimizer state over the processes: as asked for, or chosen by memory."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule, StatusModel
from slipway.api.common.quantity import Quantity
from slipway.api.common.types import MAX_INT32, Text
from slipway.api.training import memory
from slipway.api.training.memory import StrategyName

Bytes = Annotated[int, Field(ge=0, le=2**53)]
Size = Annotated[int, Field(ge=1, le=MAX_INT32)]


class ModelSize(Model):
    """Size of a model for the memory model; for transformers all of it, else the activations of a sample."""

    parameters: Annotated[int, Field(ge=1, le=2**53)] = Field(description="How many numbers are trained.")
    layers: Size | None = Field(None, description="Transformer layers.")
    hidden_size: Size | None = Field(None, description="Width of a layer.")
    heads: Size | None = Field(None, description="Attention heads; only where attention keeps its scores.")
    sequence_length: Size | None = Field(None, description="Tokens of a sample.")
    vocabulary_size: Size | None = Field(None, description="Tokens that the model knows.")
    activation_checkpointing: bool = Field(False, description="Layers are computed anew in the backward pass.")
    attention_scores_kept: bool = Field(False, description="Attention is written out, without a fused kernel.")
    activation_bytes_per_sample: Bytes | None = Field(None, description="As measured, for models of another kind.")
    micro_batch_size: Size | None = Field(None, description="Samples per process and pass; the recipe's, or 1.")
    sixteen_bit: bool = Field(True, description="16-bit parameters and gradients with 32-bit masters; else all 32.")
    adam: bool = Field(True, description="Two numbers of state per parameter; else one, as SGD with momentum.")


class Strategy(Model):
    """Strategy to train by, and the sizes by which Auto chooses one."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.name != 'Auto' || has(self.model)",
            "strategy Auto chooses by the model's size: set strategy.model",
            lambda strategy: strategy.name is not StrategyName.AUTO or strategy.model is not None,
        ),
    )
    name: StrategyName = Field(StrategyName.AUTO, description="Auto: the first of the others that fits the GPUs.")
    model: ModelSize | None = Field(None, description="The model's size.")
    gpu_memory: Quantity | None = Field(None, description="Of one GPU; the nodes' label nvidia.com/gpu.memory.")


class EstimateStatus(StatusModel):
    """One row of the table."""

    name: StrategyName = Field(description="The strategy.")
    device_bytes: Bytes = Field(description="On the GPU of each process.")
    host_bytes: Bytes = Field(0, description="In the node's memory, for each process.")
    fits: bool = Field(description="Whether the GPU has so much.")


class StrategyStatus(StatusModel):
    """Strategy of the job, and the reason for it."""

    name: StrategyName = Field(description="The strategy of this job.")
    reason: Text = Field(description="Why this one.")
    gpu_memory_bytes: Bytes = Field(0, description="Of one GPU.")
    estimates: Annotated[list[EstimateStatus], Field(max_length=8)] = Field(
        default_factory=list, description="Of every strategy."
    )


@dataclass(frozen=True)
class Choice:
    """A strategy for the launchers."""

    name: StrategyName

    @property
    def stage(self) -> int:
        """ZeRO stage of the strategy."""
        return memory.STAGES[self.name]


def workload(
    model: ModelSize,
    processes: int,
    micro_batch: int | None = None,
    evaluation_batch: int | None = None,
    moments: int | None = None,
) -> memory.Workload:
    """The model's fields as the memory model takes them; the model's own micro batch wins, and the recipe's moments."""
    return memory.Workload(
        parameters=model.parameters,
        processes=processes,
        micro_batch=model.micro_batch_size or micro_batch or 1,
        sixteen_bit=model.sixteen_bit,
        adam=model.adam,
        moments=moments,
        layers=model.layers or 0,
        hidden=model.hidden_size or 0,
        heads=model.heads or 0,
        sequence=model.sequence_length or 0,
        vocabulary=model.vocabulary_size or 0,
        scores_kept=model.attention_scores_kept,
        recompute=model.activation_checkpointing,
        activation_bytes_per_sample=model.activation_bytes_per_sample or 0,
        evaluation_batch=evaluation_batch or 0,
    )
