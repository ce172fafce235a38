"""SearchJob v1alpha1: its spec and what makes it wrong."""

import json
import re
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from slipway.api.common.base import MapBy, Model, Rule, problems_of
from slipway.api.common.kind import OBJECT_NAME, Column, Kind, condition_column, unseen_status
from slipway.api.common.resources import Resources
from slipway.api.common.scheduling import Toleration
from slipway.api.common.types import ImageName, LabelKey, LabelValue, Seconds, same
from slipway.api.search import paths
from slipway.api.search.paths import Value
from slipway.api.search.space import (
    MOST_CONSTRAINTS,
    MOST_PARAMETERS,
    AlgorithmName,
    Constraint,
    EarlyStopping,
    Objective,
    Parameter,
)
from slipway.api.search.status import MOST_TRIALS, SearchJobStatus
from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import TrainingJobSpec

# `<search>-<number>` is a TrainingJob, whose name leaves room for the names of its pods: 4 for the number, and 4 for
# those of up to a thousand nodes.
NAME_BUDGET = trainingjob.NAME_BUDGET - 4 - 4
FIXED_FIELDS = (
    "template", "parameters", "objective", "constraints", "algorithm", "earlyStopping", "seed", "measurement",
)  # fmt: skip


class Measurement(Model):
    """Pod that measures a trial before it is trained: put it where the model will be served."""

    image: ImageName | None = Field(None, description="The quantizer image of this Slipway release when unset.")
    resources: Resources = Field(default_factory=Resources, description="What the pod asks of its node.")
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict, description="Labels of the target's nodes; those of template.pod when empty."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(
        default_factory=list, description="Taints of the target's nodes; those of template.pod when empty."
    )


class SearchRunPolicy(Model):
    """Limits of the search: whether it may run, and how long it is kept."""

    suspend: bool = Field(False, description="Suspend all trials and start none; false goes on.")
    ttl_seconds_after_finished: Seconds | None = Field(
        None, description="Delete the search and its trials, but not their artifacts, so long after it has finished."
    )


def _measurable(spec: "SearchJobSpec") -> bool:
    return not spec.constraints or spec.template.recipe is not None


def _two_objectives(spec: "SearchJobSpec") -> bool:
    return spec.algorithm is not AlgorithmName.NSGA2 or bool(spec.constraints)


def _countable(spec: "SearchJobSpec") -> bool:
    floats = [one.float_ for one in spec.parameters if one.float_ is not None]
    return spec.algorithm is not AlgorithmName.GRID or all(one.step is not None for one in floats)


def _different(spec: "SearchJobSpec") -> bool:
    keys = [one.key for one in spec.constraints]
    return len(set(keys)) == len(keys)


class SearchJobSpec(Model):
    """The training to repeat, what is varied in it, and by which figure the best is chosen."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.template.output)",
            "template.output is where the trials' models go, each into a folder of its own: set it",
            lambda spec: spec.template.output is not None,
        ),
        Rule(
            "!has(self.template.runPolicy) || !has(self.template.runPolicy.suspend)"
            " || !self.template.runPolicy.suspend",
            "template.runPolicy.suspend is the search's to set: set runPolicy.suspend beside the template",
            lambda spec: not spec.template.run_policy.suspend,
        ),
        Rule(
            "!has(self.constraints) || size(self.constraints) == 0 || has(self.template.recipe)",
            "constraints are measured on a recipe's model before it is trained: give the template a recipe, or remove "
            "them",
            _measurable,
        ),
        Rule(
            "self.algorithm != 'nsga2' || (has(self.constraints) && size(self.constraints) > 0)",
            "nsga2 weighs the objective against a figure: set the figure as the first of constraints",
            _two_objectives,
        ),
        Rule(
            "self.algorithm != 'grid' || self.parameters.all(p, !has(p.float) || has(p.float.step))",
            "grid needs ranges that can be counted: set float.step, or use int or categorical",
            _countable,
        ),
        Rule(
            "self.algorithm != 'hyperband' || !has(self.earlyStopping)",
            "hyperband stops trials by itself: remove earlyStopping",
            lambda spec: spec.algorithm is not AlgorithmName.HYPERBAND or spec.early_stopping is None,
        ),
        Rule(
            "!has(self.constraints) || self.constraints.all(a, self.constraints.exists_one(b, a.metric == b.metric"
            " && a.engine == b.engine && a.batch == b.batch))",
            "constraints has one figure twice: remove one of them",
            _different,
        ),
        *(
            Rule(same(field), f"{field} cannot be changed: delete the search and create it again")
            for field in FIXED_FIELDS
        ),
    )
    template: TrainingJobSpec = Field(description="Spec of the TrainingJob that each trial is.")
    parameters: Annotated[list[Parameter], Field(min_length=1, max_length=MOST_PARAMETERS), MapBy("path")] = Field(
        description="What is varied."
    )
    objective: Objective = Field(default_factory=Objective, description="By which figure the best is chosen.")
    constraints: Annotated[list[Constraint], Field(max_length=MOST_CONSTRAINTS)] = Field(
        default_factory=list,
        description="Limits that are measured before a trial is trained. What is above one is never trained.",
    )
    measurement: Measurement = Field(default_factory=Measurement, description="The pod that measures.")
    algorithm: AlgorithmName = Field(
        AlgorithmName.TPE,
        description="tpe: tree-structured Parzen estimators. nsga2: genetic, objective against the first constraint. "
        "hyperband: random, and most trials are stopped early.",
    )
    early_stopping: EarlyStopping | None = Field(
        None, description="Stop trials that are worse than others were at their time."
    )
    max_trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = Field(
        20, description="All trials, with those that are pruned, stopped or fail; may be raised later."
    )
    parallel_trials: Annotated[int, Field(ge=1, le=32)] = Field(1, description="Trials at a time.")
    max_failed_trials: Annotated[int, Field(ge=0, le=MOST_TRIALS)] = Field(
        3, description="The search fails once more have failed."
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(0, description="Of the algorithm.")
    run_policy: SearchRunPolicy = Field(
        default_factory=SearchRunPolicy, description="When the search runs and what is left of it."
    )


def name_problems(name: str) -> list[str]:
    """Check that trials and their pods can be named after the search. Returns every problem in words."""
    problems = []
    if not re.fullmatch(OBJECT_NAME, name):
        problems.append(
            "metadata.name: trials are named after it: use lower case letters, digits and '-', a letter first"
        )
    if len(name) > NAME_BUDGET:
        problems.append(
            f"metadata.name: {len(name)} characters, and the names of its trials' pods leave room for {NAME_BUDGET}: "
            "shorten it"
        )
    return problems


def parse(spec: dict[str, Any]) -> tuple[SearchJobSpec | None, list[str]]:
    """Parse a spec; the parameters' values are not tried in the template yet."""
    try:
        return SearchJobSpec.model_validate_json(json.dumps(spec), strict=True), []
    except ValidationError as error:
        return None, problems_of(error)


def spec_problems(name: str, spec: dict[str, Any]) -> tuple[SearchJobSpec | None, list[str]]:
    """Parse a spec as the API server gave it, and try each parameter's values in the template.

    Returns the model, or None and every problem in words.
    """
    parsed, problems = parse(spec)
    if parsed is None:
        return None, problems
    problems = [*name_problems(name), *_value_problems(parsed, spec["template"])]
    return (None, problems) if problems else (parsed, [])


def _value_problems(spec: SearchJobSpec, template: dict[str, Any]) -> list[str]:
    problems = []
    for place, parameter in enumerate(spec.parameters):
        words = paths.unknown(parameter.path)
        found = [words] if words else list(filter(None, (_tried(template, parameter.path, v) for v in parameter.ends)))
        problems += [f"spec.parameters[{place}]: {words}" for words in dict.fromkeys(found)]
    return problems


def _tried(template: dict[str, Any], path: str, value: Value) -> str | None:
    """Words of a TrainingJob on this value; None where it takes it."""
    try:
        changed = paths.put(template, path, value)
    except ValueError as error:
        return str(error)
    try:
        TrainingJobSpec.model_validate_json(json.dumps(changed), strict=True)
    except ValidationError as error:
        # Two fields may have to change together: only what is said of this very field is this parameter's fault.
        about = [found for found in problems_of(error) if found.startswith(f"spec.{path}:")]
        return f"{json.dumps(value)} is refused: {about[0].removeprefix('spec.')}" if about else None
    return None


KIND = Kind(
    kind="SearchJob",
    plural="searchjobs",
    singular="searchjob",
    short="sj",
    description="Searches parameters of a TrainingJob, measured on the target before they are trained.",
    spec=SearchJobSpec,
    status=SearchJobStatus,
    default_status=unseen_status(),
    name_length=NAME_BUDGET,
    columns=(
        condition_column("Ready", "Ready", "status", description="True once a best trial is there"),
        condition_column("Reason", "Ready", "reason", description="Why it is or is not ready"),
        Column("Active", ".status.counts.active", "integer", description="Trials that are measured, wait or train"),
        Column("Succeeded", ".status.counts.succeeded", "integer", description="Trials that were trained"),
        Column("Pruned", ".status.counts.pruned", "integer", description="Trials that are too slow or too large"),
        Column("Failed", ".status.counts.failed", "integer", description="Trials that failed"),
        Column("Best", ".status.best.value", "number", description="The objective of the best trial"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Trial", ".status.best.name", priority=1, description="The TrainingJob that made it"),
        Column("Artifact", ".status.artifact.uri", priority=1, description="Where the best model lies"),
    ),
)
