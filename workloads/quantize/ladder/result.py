"""Result of a job so far.

Candidates, the one that is selected, the headline: read off the records, for report and status.
"""

from dataclasses import dataclass

from slipway.api.quantization.evaluation import EvaluationMetric
from slipway.api.quantization.ladder import Rung, climbing, goal_of
from slipway.api.quantization.settings import OnFailure
from slipway.api.quantization.status import Candidate, Gate, GateResult, Headline, Outcome
from workloads.quantize.context import COMPRESSED, Context
from workloads.quantize.ladder.candidates import FLOAT, best, candidate_of, details_of, most_accurate, step_name
from workloads.quantize.ladder.rungs import candidates_of, climbed


@dataclass(frozen=True)
class Selection:
    """Selection of a candidate. `published` is None when the job publishes nothing.

    `shown` is that candidate, or the nearest one that failed.
    """

    published: str | None
    shown: Candidate | None
    outcome: Outcome


def tried(context: Context) -> list[Candidate]:
    """The steps of compression, if there are any, and all candidates in the order of the ladder."""
    return [*_compressed(context), *_climbed(context)]


def _compressed(context: Context) -> list[Candidate]:
    """Every step that was judged, also while the stage is still at work."""
    names = [step_name(number, step) for number, step in enumerate(context.job.spec.compression or [], start=1)]
    return [candidate_of(context, name) for name in names if context.work.read(f"candidates/{name}") is not None]


def _smallest(context: Context) -> Candidate | None:
    """Compressed model that the ladder started from, if it passes the gates of size and speed, too."""
    record = context.work.read(COMPRESSED)
    if record is None or record["selected"] is None:
        return None
    passes = not details_of(context, record["selected"]).get("failures")
    return candidate_of(context, record["selected"]) if passes else None


def _climbed(context: Context) -> list[Candidate]:
    done = [climbed(context.work, rung) for rung in climbing(context.job.spec.ladder, context.job.spec.optimize_for)]
    return candidates_of(context, [rung for rung in done if rung is not None])


def selected_of(context: Context) -> Selection:
    """Selection of the model that the job publishes, with the outcome."""
    candidates = _climbed(context)
    # What is smaller and still in float is better than nothing, and worse than what is quantized, too.
    winner = best(candidates, goal_of(context.job.spec.ladder, context.job.spec.optimize_for))
    if winner is not None:
        half = winner.rung == Rung.FP16
        return Selection(winner.name, winner, Outcome.HALF_PRECISION if half else Outcome.QUANTIZED)
    smaller = _smallest(context)
    if smaller is not None:
        return Selection(smaller.name, smaller, Outcome.COMPRESSED)
    nearest = most_accurate(candidates)
    if context.job.spec.on_failure is OnFailure.KEEP_FLOAT:
        return Selection(FLOAT, nearest, Outcome.KEPT_FLOAT)
    return Selection(None, nearest, Outcome.REJECTED)


def figures(context: Context) -> dict[str, float]:
    """Figures known so far, for those who watch: of the float model, and of the most accurate candidate."""
    if context.work.read(f"candidates/{FLOAT}") is None:
        return {}
    known: dict[str, float | None] = {"float_accuracy": candidate_of(context, FLOAT).accuracy}
    candidates = _climbed(context)
    nearest = most_accurate(candidates)
    if nearest is not None:
        known |= {"candidates": len(candidates), "accuracy": nearest.accuracy, "drop": nearest.drop}
    return {name: value for name, value in known.items() if value is not None}


def gates(context: Context) -> list[GateResult]:
    """Results of the shown candidate at each gate that the job asks for; empty when none could be built."""
    shown, asked = selected_of(context).shown, context.job.spec.gates
    failures = None if shown is None else details_of(context, shown.name).get("failures")
    if shown is None or failures is None:
        return []
    names = [Gate.ACCURACY]
    names += [Gate.SIZE] if asked.size is not None else []
    names += [Gate.LATENCY] if asked.latency is not None else []
    return [_gate(name, failures, shown) for name in names]


def _gate(name: Gate, failures: list[str], shown: Candidate) -> GateResult:
    failed = next((words for words in failures if words.startswith(name)), None)
    # The accuracy's figures and its limit come first in the verdict, whether it holds or not.
    words = shown.message.partition(";")[0] if name is Gate.ACCURACY else failed or ""
    return GateResult(name=name, passed=failed is None, message=words[:256])


def headline(context: Context) -> Headline | None:
    """Headline as `kubectl get` shows it; None before there is anything to show."""
    if context.work.read(f"candidates/{FLOAT}") is None:
        return None
    reference, shown = candidate_of(context, FLOAT), selected_of(context).shown
    known = context.job.spec.evaluation.metric is not EvaluationMetric.AGREEMENT
    words = {"float_": percent(reference.accuracy) if known else ""}
    if shown is not None:
        low, high = (shown.drop_low or 0.0) * 100, (shown.drop_high or 0.0) * 100
        words["quantized"] = percent(shown.accuracy) if known else f"{percent(shown.accuracy)} equal"
        words["drop"] = f"{(shown.drop or 0.0) * 100:.2f} pt ({low:.2f} to {high:.2f})"
        words["size"] = f"{(reference.size_bytes or 0) / max(1, shown.size_bytes or 0):.2f}x smaller"
    benchmark = context.work.read("benchmark")
    if benchmark is not None and benchmark["speedup"] is not None:
        words["speed"] = f"{benchmark['speedup']['median']:.2f}x"
    return Headline(**words)


def percent(share: float | None) -> str:
    """A share for people."""
    return "" if share is None else f"{share * 100:.2f} %"
