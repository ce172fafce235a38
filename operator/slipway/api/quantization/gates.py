"""Gates that a quantized model must pass before it is published: accuracy, size, latency."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule


class AccuracyProfile(StrEnum):
    """MLPerf Inference's classes: at least so many percent of the float model's accuracy."""

    MLPERF_99 = "mlperf-99"
    MLPERF_99_9 = "mlperf-99.9"


class DropType(StrEnum):
    """Unit of the accuracy drop: a share of the float model's accuracy, or points."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


class Evidence(StrEnum):
    """Figure that must be within the limit: the estimate, or the upper end of its confidence interval."""

    ESTIMATE = "estimate"
    UPPER_BOUND = "upper-bound"


class AccuracyGate(Model):
    """Limit of the accuracy lost against the float model, in the runtime and on the same samples."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.profile) && has(self.maxDrop))",
            "set profile or maxDrop, not both",
            lambda gate: gate.profile is None or gate.max_drop is None,
        ),
    )
    profile: AccuracyProfile | None = Field(None, description="mlperf-99 when neither profile nor maxDrop is set.")
    max_drop: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="0.01 is one percent, or one point.")
    drop_type: DropType = Field(DropType.RELATIVE, description="relative to the float accuracy, or absolute (points).")
    min_sqnr_db: Annotated[float, Field(ge=-100, le=200)] | None = Field(
        None,
        alias="minSqnrDb",
        description="Least signal to noise of the outputs. Unset: 8 with metric agreement, 3 with labels, none after "
        "training.",
    )
    evidence: Evidence = Field(
        Evidence.ESTIMATE, description="upper-bound: even the upper end of the paired confidence interval must hold."
    )
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = Field(0.95, description="Of the interval.")


class SizeGate(Model):
    """Limit of the quantized file's size."""

    max_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Bytes of the quantized .onnx over those of the float one."
    )


class LatencyGate(Model):
    """Limit of the quantized model's latency. Fails only on clear evidence: a noisy node cannot fail it by itself."""

    min_speedup: Annotated[float, Field(gt=0, le=1000)] = Field(
        1.0, description="Float latency over quantized latency, batch size 1."
    )


class PerplexityGate(Model):
    """Limit of the increase of a language model's perplexity, paired by document."""

    max_increase: Annotated[float, Field(ge=0, le=10)] = Field(0.02, description="0.02 is two percent.")
    evidence: Evidence = Field(
        Evidence.UPPER_BOUND, description="upper-bound: even the upper end of the interval must hold."
    )


class AgreementGate(Model):
    """Limit of the tokens for which a language model's best choice is another one than before."""

    min_top1: Annotated[float, Field(ge=0, le=1)] = Field(
        alias="minTop1", description="Least share of the same choices."
    )
    evidence: Evidence = Field(Evidence.UPPER_BOUND, description="upper-bound: even the worse end must hold.")


class DivergenceGate(Model):
    """Limit of the divergence of a language model's distributions from the float model's."""

    max_mean_kl: Annotated[float, Field(ge=0, le=100)] = Field(
        alias="maxMeanKL", description="Mean over tokens, in nats."
    )
    evidence: Evidence = Field(Evidence.UPPER_BOUND, description="upper-bound: even the upper end must hold.")


class TasksGate(Model):
    """Limit of a language model's right answers lost in each of evaluation.tasks, paired by question."""

    max_drop: Annotated[float, Field(ge=0, le=1)] = Field(0.02, description="0.02 is two points of accuracy.")
    evidence: Evidence = Field(Evidence.UPPER_BOUND, description="upper-bound: even the upper end must hold.")


class Gates(Model):
    """Gates that a candidate must pass; nothing else is ever published as quantized."""

    accuracy: AccuracyGate = Field(default_factory=AccuracyGate, description="Never optional.")
    perplexity: PerplexityGate | None = Field(
        None, description="Language models, for which it is never optional: two percent when unset."
    )
    agreement: AgreementGate | None = Field(None, description="Language models; not asked when unset.")
    divergence: DivergenceGate | None = Field(None, description="Language models; not asked when unset.")
    tasks: TasksGate | None = Field(None, description="Language models, with evaluation.tasks.")
    size: SizeGate | None = Field(None, description="Not asked when unset.")
    latency: LatencyGate | None = Field(None, description="Not asked when unset.")
