"""Optimizer, schedule, average of the weights and early stopping: their constants, by torch's names."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.types import MAX_INT32


class OptimizerName(StrEnum):
    """Classes of torch.optim."""

    SGD = "sgd"
    ADAMW = "adamw"
    ADAFACTOR = "adafactor"
    MUON = "muon"


class ScheduleName(StrEnum):
    """Schedule of the learning rate after its linear warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    LINEAR = "linear"
    STEP = "step"
    WSD = "wsd"
    ONE_CYCLE = "one-cycle"


# They look at a parameter as a matrix: of a part of one, or of several in a row, they would make something else.
WHOLE = (OptimizerName.ADAFACTOR, OptimizerName.MUON)
Pattern = Annotated[str, Field(min_length=1, max_length=256)]
Share = Annotated[float, Field(ge=0, le=1)]


class Optimizer(Model):
    """The optimizer and its constants."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.nesterov) || !self.nesterov"
            " || (self.name == 'sgd' && double(self.momentum) > 0.0"
            " && (!has(self.dampening) || double(self.dampening) == 0.0))",
            "nesterov is for sgd with momentum and without dampening: set momentum, or remove it",
            lambda one: not one.nesterov or (one.name is OptimizerName.SGD and one.momentum > 0 and not one.dampening),
        ),
        Rule(
            "!has(self.dampening) || self.name == 'sgd'",
            "dampening is for sgd: remove it",
            lambda one: one.dampening is None or one.name is OptimizerName.SGD,
        ),
        Rule(
            "self.name == 'adamw' || self.name == 'muon' || !(has(self.beta2) || has(self.epsilon))",
            "beta2 and epsilon are for adamw, and for what muon leaves to it: remove them",
            lambda one: one.name in {"adamw", "muon"} or (one.beta2, one.epsilon) == (None, None),
        ),
        Rule(
            "!has(self.amsgrad) || !self.amsgrad || self.name == 'adamw'",
            "amsgrad is for adamw: remove it",
            lambda one: not one.amsgrad or one.name is OptimizerName.ADAMW,
        ),
        Rule(
            "self.name == 'sgd' || double(self.momentum) < 1.0",
            "momentum of 1 never forgets: set it below 1, or name to sgd",
            lambda one: one.name is OptimizerName.SGD or one.momentum < 1,
        ),
    )
    name: OptimizerName = Field(OptimizerName.SGD, description="torch.optim's class.")
    learning_rate: Annotated[float, Field(gt=0, le=100)] = Field(0.1, description="At its peak, after the warm-up.")
    base_batch_size: Annotated[int, Field(ge=1, le=1048576)] | None = Field(
        None, description="learningRate is for batches of this size; scaled to globalBatchSize."
    )
    momentum: Share = Field(0.9, description="Of sgd and muon; beta1 of adamw; adafactor has none.")
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(0.0, description="L2 for sgd, decoupled for the others.")
    no_decay: Annotated[list[Pattern], Field(max_length=64)] | None = Field(
        None, description="Parameters without decay, * for any characters; biases and norms have none by themselves."
    )
    nesterov: bool | None = Field(None, description="sgd: look ahead by the momentum; muon does by itself.")
    dampening: Share | None = Field(None, description="sgd: of the momentum.")
    beta2: Annotated[float, Field(ge=0, lt=1)] | None = Field(None, description="adamw: 0.999 when unset.")
    epsilon: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="adamw: 1e-8 when unset.")
    amsgrad: bool | None = Field(None, description="adamw: the largest second moment so far, one more number each.")


_FINAL = frozenset({ScheduleName.COSINE, ScheduleName.LINEAR, ScheduleName.WSD})


class Schedule(Model):
    """The learning rate over the run, by optimizer steps."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.finalShare) || self.name in ['cosine', 'linear', 'wsd']",
            "finalShare is for cosine, linear and wsd: remove it",
            lambda one: one.final_share is None or one.name in _FINAL,
        ),
        Rule(
            "!has(self.decayShare) || self.name == 'wsd'",
            "decayShare is for wsd: remove it",
            lambda one: one.decay_share is None or one.name is ScheduleName.WSD,
        ),
    )
    name: ScheduleName = Field(
        ScheduleName.COSINE,
        description="Shape after the warm-up. wsd: constant, then linear. one-cycle: torch's OneCycleLR.",
    )
    warmup_steps: Annotated[int, Field(ge=0, le=MAX_INT32)] = Field(
        0, description="Optimizer steps of linear warm-up; one-cycle: of its rise, three tenths of the run when 0."
    )
    step_epochs: Annotated[int, Field(ge=1, le=10000)] = Field(30, description="`step`: epochs between two cuts.")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="`step`: the factor of a cut.")
    final_share: Share | None = Field(None, description="Of the peak, at the run's end; 0 when unset.")
    decay_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="wsd: of the run's steps, those in which it falls; 0.1 when unset."
    )


class Average(Model):
    """Exponential moving average of the weights: evaluated and published in their place."""

    decay: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.999, description="Of the average, kept in a step; less in the first steps: (1 + steps) / (10 + steps)."
    )


class EarlyStopping(Model):
    """End of a run that gets no better on held-out data."""

    patience: Annotated[int, Field(ge=1, le=10000)] = Field(description="Evaluations in a row without a better figure.")
    min_delta: Annotated[float, Field(ge=0, le=1000000)] = Field(
        0.0, description="By how much a better one is better: of accuracy, or of the loss where that is judged by."
    )


def _spread_by(spec: Any, *allowed: str) -> bool:
    """Tell whether parameters are spread by one of these strategies alone, or not at all."""
    spread = spec.recipe.together > 1 or spec.launcher in ("deepspeed", "horovodrun")
    return not spread and (spec.strategy is None or spec.strategy.name in allowed)


_SPREAD = (
    "self.recipe.tensorParallel * self.recipe.pipelineParallel == 1"
    " && !(self.launcher in ['deepspeed', 'horovodrun']) && (!has(self.strategy) || self.strategy.name in "
)
WHOLE_PARAMETERS = (
    Rule(
        f"!has(self.recipe) || !(self.recipe.optimizer.name in {[name.value for name in WHOLE]})"
        f" || ({_SPREAD}['DDP']))",
        "optimizers adafactor and muon need whole parameters in each process: set strategy.name to DDP, and use "
        "neither tensorParallel nor pipelineParallel nor launcher deepspeed or horovodrun",
        lambda spec: spec.recipe is None or spec.recipe.optimizer.name not in WHOLE or _spread_by(spec, "DDP"),
    ),
    Rule(
        f"!has(self.recipe) || !has(self.recipe.ema) || ({_SPREAD}['DDP', 'FSDP2']))",
        "ema goes with strategy.name DDP and FSDP2: use neither tensorParallel nor pipelineParallel nor launcher "
        "deepspeed or horovodrun",
        lambda spec: spec.recipe is None or spec.recipe.ema is None or _spread_by(spec, "DDP", "FSDP2"),
    ),
)


def moment_bytes(optimizer: Optimizer, average: Average | None) -> int:
    """Bytes of state that a step keeps for each parameter beside its weight and gradient, in 32 bits."""
    kept = {
        OptimizerName.SGD: 4 if optimizer.momentum else 0,
        OptimizerName.ADAMW: 12 if optimizer.amsgrad else 8,
        OptimizerName.ADAFACTOR: 0,  # a row and a column of each matrix
        OptimizerName.MUON: 4,  # matrices; embeddings and vectors have adamw's eight
    }
    return kept[optimizer.name] + (4 if average is not None else 0)
