"""Next parameters by Optuna, from the trials that there are: JSON on standard input, JSON on standard output.

A process of its own, `python -m slipway.searchjob.sampler`, ended by suggestions.py when it takes too long: the
operator's loop never waits for arithmetic, and its memory never holds numpy. The study is in memory and rebuilt each
time; nothing is kept but what the trials themselves say.
"""

import json
import sys
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slipway.api.search.paths import Value
from slipway.api.search.searchjob import SearchJobSpec
from slipway.api.search.space import AlgorithmName, Parameter
from slipway.api.search.status import ACTIVE, TrialState
from slipway.searchjob.policy import grid
from slipway.searchjob.record import Record, excess, read

if TYPE_CHECKING:
    import optuna

Point = dict[str, Value]
# Of trials that are all new, one in so many tries is.
TRIES = 32
# A generation of nsga2.
LEAST_POPULATION, MOST_POPULATION = 4, 20


def suggest(spec: SearchJobSpec, records: Sequence[Record], count: int) -> list[Point]:
    """Parameters of the next trials, as many as asked for, or as the space still has that were not tried."""
    points = grid.size(spec.parameters)
    if spec.algorithm is AlgorithmName.GRID:
        first = len(records)
        return [grid.point(spec.parameters, index) for index in range(first, min(first + count, points or 0))]
    study = _study(spec, records)
    seen = [dict(record.parameters) for record in records]
    found: list[Point] = []
    for _ in range(count if points is None else min(count, points - len(seen))):
        point = _new(study, spec.parameters, seen, points)
        seen.append(point)
        found.append(point)
    return found


def _new(study: "optuna.Study", parameters: Sequence[Parameter], seen: Sequence[Point], points: int | None) -> Point:
    """A point that was not tried, where one is found; of a finite space the next one that is left."""
    distributions = {parameter.path: _distribution(parameter) for parameter in parameters}
    point: Point = {}
    for _ in range(TRIES):
        point = _plain(parameters, study.ask(distributions).params)
        if point not in seen:
            return point
    left = (grid.point(parameters, index) for index in range(points or 0))
    return next((one for one in left if one not in seen), point)


def _plain(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> Point:
    """Values as a grid would have them, so that a value is told in one way."""
    found: Point = {}
    for parameter in parameters:
        value = given[parameter.path]
        if parameter.categorical is not None:
            found[parameter.path] = parameter.choices[int(value)]
        elif parameter.float_ is not None:
            found[parameter.path] = float(value) if parameter.float_.step is None else round(float(value), 12)
        else:
            found[parameter.path] = int(value)
    return found


def _study(spec: SearchJobSpec, records: Sequence[Record]) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    goal = optuna.study.StudyDirection[spec.objective.goal.name]
    # Another one for each number of trials: a sampler that starts anew would say the same again.
    seed = zlib.crc32(f"{spec.seed}:{len(records)}".encode())
    if spec.algorithm is AlgorithmName.NSGA2:
        size = min(MOST_POPULATION, max(LEAST_POPULATION, spec.max_trials // 4))
        sampler: Any = optuna.samplers.NSGAIISampler(population_size=size, seed=seed)
        study = optuna.create_study(directions=[goal, optuna.study.StudyDirection.MINIMIZE], sampler=sampler)
        study.add_trials(_frozen(spec, records, size))
        return study
    if spec.algorithm is AlgorithmName.TPE:
        startup = min(10, max(3, spec.max_trials // 4))
        sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed, constant_liar=True)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(direction=goal, sampler=sampler)
    study.add_trials(_frozen(spec, records, None))
    return study


def _frozen(spec: SearchJobSpec, records: Sequence[Record], population: int | None) -> list[Any]:
    """Trials as Optuna keeps them. `population`: of nsga2, which numbers generations in what it keeps itself."""
    import optuna

    distributions = {parameter.path: _distribution(parameter) for parameter in spec.parameters}
    key = optuna.samplers.NSGAIISampler._get_generation_key()  # its memory between two asks
    found, complete = [], 0
    for record in records:
        state, values = _outcome(spec, record)
        attrs: dict[str, Any] = {}
        if population is not None and state is optuna.trial.TrialState.COMPLETE:
            attrs[key] = complete // population
            complete += 1
        over = {one.key: told for one in spec.constraints if (told := excess(record, one)) is not None}
        found.append(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=_internal(spec.parameters, record.parameters),
                distributions=distributions,
                system_attrs=attrs,
                intermediate_values=dict(record.reports),
                constraints=over if over and record.state not in ACTIVE else None,
            )
        )
    return found


def _outcome(spec: SearchJobSpec, record: Record) -> tuple[Any, list[float] | None]:
    """State and values of a trial for Optuna."""
    from optuna.trial import TrialState as Of

    if record.state is TrialState.SUCCEEDED and record.value is not None:
        if spec.algorithm is not AlgorithmName.NSGA2:
            return Of.COMPLETE, [record.value]
        figure = record.figures.get(spec.constraints[0].key)
        return (Of.FAIL, None) if figure is None else (Of.COMPLETE, [record.value, figure])
    if record.state in ACTIVE:
        return Of.RUNNING, None
    # A study of two objectives knows no trial that was pruned.
    pruned = record.state is not TrialState.FAILED and spec.algorithm is not AlgorithmName.NSGA2
    return (Of.PRUNED if pruned else Of.FAIL), None


def _distribution(parameter: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.float_ is not None:
        one = parameter.float_
        return FloatDistribution(one.min, one.max, log=one.log, step=one.step)
    if parameter.int_ is not None:
        return IntDistribution(parameter.int_.min, parameter.int_.max, log=parameter.int_.log, step=parameter.int_.step)
    # By place: 1, 1.0 and true are one choice for Python.
    return CategoricalDistribution(range(len(parameter.choices)))


def _internal(parameters: Sequence[Parameter], given: Mapping[str, Value]) -> dict[str, Any]:
    return {
        parameter.path: parameter.choices.index(given[parameter.path])
        if parameter.categorical is not None
        else given[parameter.path]
        for parameter in parameters
    }


def answer(request: Mapping[str, Any]) -> list[Point]:
    """Answer to a request of suggestions.py."""
    spec = SearchJobSpec.model_validate_json(json.dumps(request["spec"]), strict=True)
    return suggest(spec, [read(told) for told in request["trials"]], request["count"])


def main() -> None:
    """Read the request, print the answer."""
    warnings.simplefilter("ignore")
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
