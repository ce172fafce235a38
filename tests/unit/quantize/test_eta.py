"""Progress over a whole ladder: what is posted rises from 0 to 100, whatever rungs are needed and whoever resumes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.api.quantization.ladder import Rung
from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from slipway.api.quantization.status import Stage
from workloads.quantize.eta import Rate, WorkPlan, steps_of
from workloads.quantize.progress import ProgressReporter

DIGITS = {"dataset": {"name": "digits"}}


def spec(**fields: Any) -> QuantizationJobSpec:
    required = {"model": {"uri": "file:///m"}, "evaluation": DIGITS, "output": {"uri": "file:///tmp/out"}}
    return QuantizationJobSpec.model_validate({"calibration": DIGITS, **required, **fields})


def test_the_default_ladder_in_order() -> None:
    legs = [leg.rung or leg.stage for leg in steps_of(spec())]
    assert legs[:3] == [Stage.EXPORT, Stage.BASELINE, Stage.CALIBRATE]
    assert legs[-2:] == [Stage.BENCHMARK, Stage.PUBLISH]
    assert legs.index(Stage.SENSITIVITY) == legs.index(Rung.MIXED_PRECISION) - 1


def test_a_ladder_that_calibrates_nothing_leaves_it_out() -> None:
    stages = [leg.stage for leg in steps_of(spec(calibration=None, ladder=["dynamic"]))]
    assert stages == [Stage.EXPORT, Stage.BASELINE, Stage.QUANTIZE, Stage.BENCHMARK, Stage.PUBLISH]


def test_more_pods_make_sharded_stages_shorter_but_not_for_a_single_process() -> None:
    def weight(shards: int) -> float:
        return next(leg.weight for leg in steps_of(spec(parallelism=4), shards) if leg.stage is Stage.CALIBRATE)

    assert weight(4) == 4 * weight(1)


@given(st.lists(st.sampled_from(["track", "part", "leg", "next"]), max_size=200), st.floats(0, 1e6))
def test_it_never_goes_back_and_ends_below_a_hundred(steps: list[str], elapsed: float) -> None:
    legs = steps_of(spec())
    journey = WorkPlan(legs, Rate())
    seen, position, share = [journey.percent], 0, 0.0
    for step in steps:
        if step == "track":
            share = min(1.0, share + 0.1)
            journey.track(share)
        elif step == "part":
            journey.part_done()
            share = 0.0
        elif step == "leg":
            journey.leg_done()
            share = 0.0
        else:
            position, share = min(position + 1, len(legs) - 1), 0.0
            journey.begin(legs[position].stage, legs[position].rung)
        seen.append(journey.percent)
        left = journey.remaining_seconds(elapsed)
        assert left is None or left >= 0
    assert all(0 <= percent <= 99 for percent in seen)


def test_a_rung_that_passes_jumps_ahead_and_the_jump_is_not_taken_for_speed() -> None:
    journey = WorkPlan(steps_of(spec()), Rate())
    for stage in (Stage.EXPORT, Stage.BASELINE, Stage.CALIBRATE):
        journey.begin(stage)
        journey.leg_done()
    journey.begin(Stage.QUANTIZE, Rung.STATIC_PER_TENSOR)
    journey.leg_done()
    before, left = journey.percent, journey.remaining_seconds(100)
    journey.begin(Stage.BENCHMARK)
    assert journey.percent > before + 30
    weights = {leg.stage: leg.weight for leg in steps_of(spec())}
    done = sum(leg.weight for leg in steps_of(spec())[:4])
    assert left is not None
    assert (
        journey.remaining_seconds(100) == round(100 / done * (weights[Stage.BENCHMARK] + weights[Stage.PUBLISH])) < left
    )


def test_a_later_pod_knows_the_pace_of_the_earlier_ones() -> None:
    legs = steps_of(spec())
    first = WorkPlan(legs, Rate())
    first.begin(Stage.EXPORT)
    assert first.remaining_seconds(3) is None
    took = first.stage_done(8.0)
    second = WorkPlan(legs, Rate.of([took.record()]))
    second.begin(Stage.BASELINE)
    total = sum(leg.weight for leg in legs)
    assert took.weight == legs[0].weight
    assert second.remaining_seconds(0) == round(8.0 / took.weight * (total - took.weight))


def test_stages_of_one_process_are_not_counted_twice() -> None:
    legs = steps_of(spec())
    journey = WorkPlan(legs, Rate())
    kept = []
    for stage in (Stage.EXPORT, Stage.BASELINE, Stage.CALIBRATE):
        journey.begin(stage)
        kept.append(journey.stage_done(1.0).record())
    assert [record["weight"] for record in kept] == [leg.weight for leg in legs[:3]]


class Sent:
    """Keeps what would be posted."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def send(self, body: dict[str, Any]) -> None:
        self.bodies.append(body["trainerStatus"])

    def close(self) -> None:
        pass


def test_a_stage_that_is_climbed_by_rungs_does_not_begin_anew_after_the_sensitivities() -> None:
    """The stage quantize runs before and after them: its second pod goes on where the first one ended."""
    sent = Sent()
    reporter = ProgressReporter(sent)  # type: ignore[arg-type]
    reporter.plan(WorkPlan(steps_of(spec()), Rate(10.0, 20.0)))
    reporter.figures({"float_accuracy": 0.98})
    reporter.begin(Stage.QUANTIZE)
    assert sent.bodies == []
    reporter.climb(Rung.MIXED_PRECISION)
    reporter.advance()
    reporter.stage_done()
    reporter.close(finished=True)
    percents = [body["progressPercentage"] for body in sent.bodies]
    assert percents == sorted(percents)
    assert percents[0] > 40
    assert percents[-1] == 100
    assert sent.bodies[-1]["estimatedRemainingSeconds"] == 0
    assert all(body["metrics"] == [{"name": "float_accuracy", "value": "0.98"}] for body in sent.bodies)
    assert all("step" not in {metric["name"] for metric in body["metrics"]} for body in sent.bodies)
