"""What quantizer pods say and when, for the scripted kubelet: a ladder, with last words as the workload writes them.

A walk is the list of stages in the order they run. Step i of it is in the pods' names, and its pods say that step i + 1
is next. Of several shards only the one that ends last sees all the others' results, as in the work folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from slipway.api.common.job_status import ArtifactStatus, Metric
from slipway.api.quantization.status import (
    SHARDED,
    Candidate,
    Gate,
    GateResult,
    Headline,
    Outcome,
    Report,
    Stage,
    StageResult,
)
from tests.cluster.scripted.script import Exit, Script
from workloads.quantize.run import fitting

Object = dict[str, Any]
SOURCE_DIGEST, DIGEST = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
# PTQ passes at once; or the ladder is climbed to its end, with the stage quantize on both sides of the sensitivities.
SHORT = (Stage.EXPORT, Stage.BASELINE, Stage.CALIBRATE, Stage.QUANTIZE, Stage.BENCHMARK, Stage.PUBLISH)
WHOLE = (*SHORT[:4], Stage.SENSITIVITY, Stage.QUANTIZE, Stage.QAT, Stage.BENCHMARK, Stage.PUBLISH)
FLOAT = Candidate(name="float", accuracy=0.981, size_bytes=400_000, message="706 of 720 right (96.82 to 98.87 %)")
TRIED = {
    Stage.QUANTIZE: Candidate(
        name="static-per-tensor-entropy", rung="static-per-tensor", method="entropy", accuracy=0.93, drop=0.051,
        drop_low=0.031, drop_high=0.072, agreement=0.94, sqnr_db=11.2, size_bytes=104_000, passed=False,
        message="drop +5.10 pt (+3.10 pt to +7.20 pt), limit +0.98 pt; accuracy",
    ),
    Stage.QAT: Candidate(
        name="qat", rung="qat", accuracy=0.979, drop=0.002, drop_low=-0.004, drop_high=0.008, agreement=0.99,
        sqnr_db=25.0, size_bytes=104_000, passed=True, message="drop +0.20 pt (-0.40 pt to +0.80 pt), limit +0.98 pt",
    ),
}  # fmt: skip


class Place(NamedTuple):
    """Where in the job a pod stands, read off its name and labels."""

    step: int
    shard: int
    attempt: int
    stage: Stage


def place_of(pod: Object) -> Place:
    step, shard, attempt = re.search(r"-(\d+)-(\d+)-a(\d+)$", pod["metadata"]["name"]).groups()  # type: ignore[union-attr]
    stage = Stage(pod["metadata"]["labels"]["slipway.dev/replica-type"])
    return Place(int(step), int(shard), int(attempt), stage)


def rows(walk: Sequence[Stage], step: int) -> list[Candidate]:
    """The candidates that are known after a step."""
    done = walk[: step + 1]
    passes = Stage.QAT not in walk
    tried = [row.model_copy(update={"passed": passes}) if passes else row for s, row in TRIED.items() if s in done]
    return [FLOAT, *tried] if Stage.BASELINE in done else []


def words(walk: Sequence[Stage], step: int, outcome: Outcome = Outcome.QUANTIZED) -> str:
    """The termination message of the last pod of a step."""
    stage = walk[step]
    following = walk[step + 1] if step + 1 < len(walk) else None
    said: Object = {} if following else _ending(walk, outcome)
    result = StageResult(
        stage=stage, next=following, message=f"{stage} is done", source_digest=SOURCE_DIGEST,
        warnings=["only 64 evaluation samples: the accuracy gate is a coarse one"] if step else [],
        comparison=rows(walk, step), headline=_headline(rows(walk, step)), **said,
    )  # fmt: skip
    return fitting(result)


def _ending(walk: Sequence[Stage], outcome: Outcome) -> Object:
    passed = outcome is Outcome.QUANTIZED
    figures = [Metric(name="accuracy", value="0.979")]
    published = {"artifact": ArtifactStatus(uri="pvc://models/int8", digest=DIGEST, metrics=figures)}
    best = rows(walk, len(walk))[-1]
    return {
        "outcome": outcome,
        "selected": best.name if passed else "float" if outcome is Outcome.KEPT_FLOAT else "",
        "gates": [GateResult(name=Gate.ACCURACY, passed=passed, message=best.message.partition(";")[0])],
        "report": Report(uri="pvc://models/int8/report.html", digest=DIGEST),
        **({} if outcome is Outcome.REJECTED else published),
    }


def _headline(known: list[Candidate]) -> Headline | None:
    if not known:
        return None
    shown = {"quantized": "97.90 %", "drop": "0.20 pt (-0.40 to 0.80)", "size": "3.85x smaller"} if known[1:] else {}
    return Headline(float_="98.10 %", **shown)


def play(
    walk: Sequence[Stage] = SHORT,
    *,
    shards: int = 1,
    outcome: Outcome = Outcome.QUANTIZED,
    trouble: Mapping[tuple[int, int], Exit] = {},
    hold: Callable[[Place], bool] = lambda _: False,
) -> Callable[[Object], Script]:
    """A job's script. `trouble`: (step, shard) -> how that pod ends at the first attempt of its step, once.

    `hold`: pods that run until the test ends them.
    """
    struck: set[tuple[int, int]] = set()

    def script(pod: Object) -> Script:
        place = place_of(pod)
        mine = (place.step, place.shard)
        if mine in trouble and mine not in struck:
            struck.add(mine)
            return Script(runs_for=0.1, exit=trouble[mine])
        if hold(place):
            return Script(runs_for=None)
        return Script(runs_for=0.05, exit=ending(walk, place, shards, outcome))

    return script


def ending(walk: Sequence[Stage], place: Place, shards: int = 1, outcome: Outcome = Outcome.QUANTIZED) -> Exit:
    """How a pod ends when all goes well."""
    assert walk[place.step] is place.stage, f"{place} in {walk}"
    last = place.shard == shards - 1 or place.stage not in SHARDED
    message = words(walk, place.step, outcome)
    if not last:
        message = fitting(StageResult.model_validate_json(message).model_copy(update={"next": place.stage}))
    rejected = outcome is Outcome.REJECTED and place.stage is Stage.PUBLISH
    return Exit(code=3 if rejected else 0, message=message)
