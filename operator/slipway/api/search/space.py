"""Search space, objective, constraints and algorithm of a SearchJob: part of its spec."""

import json
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.search.paths import Value

MOST_PARAMETERS = 16
MOST_CONSTRAINTS = 4
PATH = r"^(recipe|trainer|torch|deepspeed|strategy)(\.[A-Za-z_][A-Za-z0-9_]{0,63})+$"

Path = Annotated[str, Field(min_length=3, max_length=96, pattern=PATH)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Step = Annotated[float, Field(gt=0, le=1e12)]
Integer = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Choice = Annotated[str, Field(min_length=1, max_length=64)]

_ORDER = "min is larger than max: exchange them"
_LOG = "log needs a min above 0: raise it, or remove log"
_ONE = "log and step are two ways to divide a range: remove one of them"


class FloatRange(Model):
    """Numbers between two ends, both included."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule("double(self.min) <= double(self.max)", _ORDER, lambda one: one.min <= one.max),
        Rule("!self.log || double(self.min) > 0.0", _LOG, lambda one: not one.log or one.min > 0),
        Rule("!self.log || !has(self.step)", _ONE, lambda one: not one.log or one.step is None),
    )
    min: Number = Field(description="The smallest.")
    max: Number = Field(description="The largest.")
    log: bool = Field(False, description="Alike for each factor, as learning rates are; not for each difference.")
    step: Step | None = Field(None, description="Only min, min + step, and so on.")


class IntRange(Model):
    """Whole numbers between two ends, both included."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule("self.min <= self.max", _ORDER, lambda one: one.min <= one.max),
        Rule("!self.log || self.min > 0", _LOG, lambda one: not one.log or one.min > 0),
        Rule("!self.log || self.step == 1", _ONE, lambda one: not one.log or one.step == 1),
    )
    min: Integer = Field(description="The smallest.")
    max: Integer = Field(description="The largest.")
    log: bool = Field(False, description="Alike for each factor, as widths are; not for each difference.")
    step: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(1, description="Only min, min + step, and so on.")


class Parameter(Model):
    """One parameter: where it is in the TrainingJob, and which values it may take."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.float) ? 1 : 0) + (has(self.int) ? 1 : 0) + (has(self.categorical) ? 1 : 0) == 1",
            "set exactly one of float, int, categorical",
            lambda one: sum(kind is not None for kind in (one.float_, one.int_, one.categorical)) == 1,
        ),
    )
    path: Path = Field(
        description="Of a field of the template, such as recipe.optimizer.learningRate or recipe.model.width; "
        "trainer.env.NAME is a variable of a command of your own."
    )
    float_: FloatRange | None = Field(None, alias="float", description="A number.")
    int_: IntRange | None = Field(None, alias="int", description="A whole number.")
    categorical: (
        Annotated[list[Choice], Field(min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})]
        | None
    ) = Field(None, description="One of these, each JSON or a plain word.")

    @property
    def choices(self) -> list[Value]:
        """Values of a categorical parameter."""
        return [value_of(text) for text in self.categorical or ()]

    @property
    def ends(self) -> list[Value]:
        """Values whose check stands for that of all: both ends of a range, each choice."""
        if self.float_ is not None:
            return [self.float_.min, self.float_.max]
        return [self.int_.min, self.int_.max] if self.int_ is not None else self.choices


def value_of(text: str) -> Value:
    """A value as a status or a choice spells it: JSON of a number, a boolean or a text, else the word itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, Value) else text


class Goal(StrEnum):
    """Direction in which an objective gets better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class Objective(Model):
    """Figure by which trials are compared."""

    metric: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        "accuracy", description="Of the trials' status.artifact.metrics."
    )
    goal: Goal = Field(Goal.MAXIMIZE, description="Whether more of it is better, or less.")
    target: Number | None = Field(None, description="End the search once a trial is as good as that.")


class Measure(StrEnum):
    """Figure of a model that `workloads bench` measures, whether it is trained or not."""

    P50_MILLISECONDS = "p50Milliseconds"
    SIZE_MEGABYTES = "sizeMegabytes"
    FLOPS = "flops"


class BenchEngine(StrEnum):
    """Engine on which a trial's model is measured; the measuring image has to hold it."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Constraint(Model):
    """Limit of a figure that is measured before a trial is trained, with untrained weights."""

    metric: Measure = Field(
        description="p50Milliseconds: median latency of a batch. sizeMegabytes: the model's file. flops: of one sample."
    )
    engine: BenchEngine = Field(BenchEngine.ONNXRUNTIME, description="What runs the model.")
    batch: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Samples at once.")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Threads of the engine.")
    max: Annotated[float, Field(gt=0, le=1e18)] = Field(description="A trial with more than that is never trained.")

    @property
    def key(self) -> str:
        """Name of its figure in a trial's status."""
        return f"{self.metric.value}-{self.engine.value}-{self.batch}"


class AlgorithmName(StrEnum):
    """Algorithm by which parameters are chosen."""

    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"
    NSGA2 = "nsga2"
    HYPERBAND = "hyperband"


class EarlyStopping(Model):
    """Median rule (Golovin et al. 2017): a trial whose figure is worse than the others' median is stopped."""

    min_percent: Annotated[int, Field(ge=10, le=90)] = Field(
        30, description="Not before so much of its training is done."
    )
    min_trials: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="Not before so many others have told a figure of that time."
    )
