"""Verdict on a language model's candidate: each gate with its figure, its interval and its limit. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.api.quantization.gates import Evidence, Gates, PerplexityGate, TasksGate
from slipway.api.quantization.status import Gate, GateResult
from workloads.quantize.language.judging import Judged
from workloads.quantize.language.tasks import Compared


@dataclass(frozen=True)
class Verdict:
    """All gates that were asked for, and whether the candidate may be published."""

    gates: list[GateResult]
    words: str

    @property
    def passed(self) -> bool:
        """True when every gate holds."""
        return all(gate.passed for gate in self.gates)


def verdict(judged: Judged, size_ratio: float, gates: Gates, tasks: Sequence[Compared] = ()) -> Verdict:
    """The gates of a job. That of perplexity is never optional; its limit is 2 % unless another is set."""
    asked = gates.perplexity or PerplexityGate()
    confidence = gates.accuracy.confidence
    increase = judged.increase(confidence)
    found = [_gate(Gate.PERPLEXITY, increase[_end(asked.evidence)], asked.max_increase, _percent(increase))]
    if gates.divergence is not None:
        divergence = judged.mean_divergence(confidence)
        limit = gates.divergence.max_mean_kl
        words = f"{divergence[0]:.4f} nats ({divergence[1]:.4f} to {divergence[2]:.4f})"
        found.append(_gate(Gate.DIVERGENCE, divergence[_end(gates.divergence.evidence)], limit, words))
    agreement = judged.agreement(confidence)
    if gates.agreement is not None:
        lower = agreement[0] if gates.agreement.evidence is Evidence.ESTIMATE else agreement[1]
        words = f"{agreement[0]:.2%} ({agreement[1]:.2%} to {agreement[2]:.2%})"
        found.append(_gate(Gate.AGREEMENT, -lower, -gates.agreement.min_top1, words))
    for task in tasks:
        drop, allowed = task.drop(confidence), (gates.tasks or TasksGate())
        words = f"{task.name}: {sum(task.after)} of {len(task.after)} right, {sum(task.before)} before"
        found.append(
            _gate(Gate.TASKS, drop[_end(allowed.evidence)], allowed.max_drop, f"{words} ({drop[2]:.1%} at worst)")
        )
    if gates.size is not None:
        found.append(_gate(Gate.SIZE, size_ratio, gates.size.max_ratio, f"{size_ratio:.3f} of the float model"))
    words = f"perplexity {judged.perplexity:.3f}, {_percent(increase)}; the same next token {agreement[0]:.1%}"
    failed = [gate for gate in found if not gate.passed]
    more = "; " + "; ".join(f"{gate.name}: {gate.message}" for gate in failed) if failed else ""
    return Verdict(found, words + more)


def _end(evidence: Evidence) -> int:
    return 0 if evidence is Evidence.ESTIMATE else 2


def _gate(name: Gate, figure: float, limit: float, words: str) -> GateResult:
    """A figure must not be over its limit; one that is no number never holds."""
    held = math.isfinite(figure) and figure <= limit
    return GateResult(name=name, passed=held, message=f"{words}, limit {abs(limit):g}"[:128])


def _percent(ends: tuple[float, float, float]) -> str:
    return f"{ends[0]:+.2%} ({ends[1]:+.2%} to {ends[2]:+.2%})"
