"""Progress of a job and the time it may still take: its work in order, each piece with a guess of its share. Pure.

Asked by progress.py. The whole ladder counts: a job whose first rung passes arrives early. Time left is judged by the
pace of this very job so far, measured over its finished stages and the one at work.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api.quantization.ladder import CALIBRATED, Rung, climbing
from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from slipway.api.quantization.status import Stage

# What a piece of work takes beside the others, as seen with a small CNN; only the pace is measured, not these.
_EXPORT, _BASELINE, _CALIBRATE, _SENSITIVITY, _BENCHMARK, _PUBLISH = 20.0, 2.0, 6.0, 10.0, 5.0, 1.0
_CANDIDATE, _EPOCH = 1.0, 4.0


@dataclass(frozen=True)
class WorkStep:
    """A stage, or one rung of a stage that climbs several; `parts` candidates make it up."""

    stage: Stage
    rung: Rung | None
    weight: float
    parts: int = 1


def steps_of(spec: QuantizationJobSpec, shards: int = 1) -> tuple[WorkStep, ...]:
    """Legs of all that the job may have to do, in that order.

    `shards`: how many of each sharded stage this process runs.
    """
    legs = [WorkStep(Stage.EXPORT, None, _EXPORT), WorkStep(Stage.BASELINE, None, _BASELINE)]
    if spec.compression is not None:
        steps = len(spec.compression)
        # Each is trained, and judged.
        legs.append(WorkStep(Stage.COMPRESS, None, _EPOCH * spec.qat.epochs * steps, 2 * steps))
    mine = shards / spec.parallelism
    for rung in climbing(spec.ladder, spec.optimize_for):
        if rung in CALIBRATED and not any(leg.stage is Stage.CALIBRATE for leg in legs):
            legs.append(WorkStep(Stage.CALIBRATE, None, _CALIBRATE * mine, shards))
        if rung is Rung.MIXED_PRECISION:
            legs.append(WorkStep(Stage.SENSITIVITY, None, _SENSITIVITY * mine, shards))
        if rung is Rung.QAT:
            legs.append(WorkStep(Stage.QAT, rung, _EPOCH * spec.qat.epochs))
        else:
            parts = _candidates(spec, rung)
            legs.append(WorkStep(Stage.QUANTIZE, rung, _CANDIDATE * parts, parts))
    return (*legs, WorkStep(Stage.BENCHMARK, None, _BENCHMARK), WorkStep(Stage.PUBLISH, None, _PUBLISH))


def _candidates(spec: QuantizationJobSpec, rung: Rung) -> int:
    if rung in {Rung.STATIC_PER_TENSOR, Rung.STATIC_PER_CHANNEL}:
        return len(spec.calibration.methods) if spec.calibration else 1
    if rung is Rung.MIXED_PRECISION:
        # Doubled until one passes, then halved down to the fewest that suffice.
        return 2 * math.ceil(math.log2(spec.sensitivity.max_exclusions + 1))
    return 1


@dataclass(frozen=True)
class Rate:
    """Pace of this job's finished stages: `seconds` for so much `weight`."""

    seconds: float = 0.0
    weight: float = 0.0

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> "Rate":
        """Pace of all of the stages' own records together."""
        kept = list(records)
        return cls(sum(r["seconds"] for r in kept), sum(r["weight"] for r in kept))

    def record(self) -> dict[str, float]:
        """JSON object of the seconds and the weight."""
        return {"seconds": round(self.seconds, 3), "weight": round(self.weight, 3)}


class WorkPlan:
    """Position of the job: a leg, and the share of it that is done. `covered` is the weight of what was done here."""

    def __init__(self, legs: Sequence[WorkStep], pace: Rate) -> None:
        self._legs = legs
        self._pace = pace
        self._at = 0
        self._parts = 0
        self._share = 0.0
        self._covered = 0.0

    def begin(self, stage: Stage, rung: Rung | None = None) -> None:
        """Go on to the next leg of this stage (and rung); what lies between was not needed, or was done before."""
        fits = [n for n, leg in enumerate(self._legs) if leg.stage is stage and rung in (None, leg.rung)]
        ahead = [n for n in fits if n >= self._at]
        if ahead:
            self._covered += self._here()
            self._at, self._parts, self._share = ahead[0], 0, 0.0

    def track(self, share: float) -> None:
        """Note the share of the part at work that is done."""
        self._share = share

    def part_done(self) -> None:
        """Go on to the leg's next part."""
        self._parts, self._share = self._parts + 1, 0.0

    def leg_done(self) -> None:
        """End the leg at work, however many parts it took."""
        self._parts, self._share = self._legs[self._at].parts, 0.0

    def stage_done(self, seconds: float) -> Rate:
        """End the stage; returns the pace of it, which is part of the job's pace from here on."""
        self.leg_done()
        took = Rate(seconds, self._covered + self._here())
        self._pace = Rate(self._pace.seconds + took.seconds, self._pace.weight + took.weight)
        self._covered = -self._here()
        return took

    @property
    def percent(self) -> int:
        """Percent of the whole; 100 only when the job has ended."""
        return min(99, int(100 * self._done() / self._total()))

    def remaining_seconds(self, elapsed: float) -> int | None:
        """Seconds left at the pace so far, if the ladder is climbed to its end; None before anything is known of it.

        `elapsed`: seconds since the stage at work began.
        """
        weight = self._pace.weight + self._covered + self._here()
        if weight <= 0:
            return None
        return round((self._total() - self._done()) * (self._pace.seconds + elapsed) / weight)

    def _here(self) -> float:
        leg = self._legs[self._at]
        return leg.weight * min(1.0, (self._parts + self._share) / leg.parts)

    def _done(self) -> float:
        return sum(leg.weight for leg in self._legs[: self._at]) + self._here()

    def _total(self) -> float:
        return sum(leg.weight for leg in self._legs)
