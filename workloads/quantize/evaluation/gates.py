"""Gates of a candidate: accuracy, size and latency against the float model, judged in one place, with words. Pure."""

from dataclasses import dataclass, replace

from slipway.api.quantization.gates import AccuracyGate, AccuracyProfile, DropType, Evidence, Gates
from workloads.measure.confidence import Difference

SHARE_OF = {AccuracyProfile.MLPERF_99: 0.01, AccuracyProfile.MLPERF_99_9: 0.001}


@dataclass(frozen=True)
class Speedup:
    """Float latency over quantized latency: the median of pairs measured in turns, and its interval."""

    median: float
    low: float
    high: float


LEAST_DB = 8.0  # without labels: noise of more than 0.16 of the signal's power is no agreement, whatever else agrees
LEAST_DB_LABELLED = 3.0  # with labels: more is another function that happens to be right


@dataclass(frozen=True)
class Distinctions:
    """Figures of a candidate that a share of right answers does not show.

    `sqnr_db`: signal to noise of the outputs (None: equal); `least_db`: the floor under it (None: not asked);
    how many different answers the float model and the candidate gave (0: the task makes no decisions); whether any
    weight is an `integer`, for a rung that promises it.
    """

    sqnr_db: float | None = None
    least_db: float | None = None
    float_decisions: int = 0
    decisions: int = 0
    integer: bool = True

    def failures(self) -> list[str]:
        """Failures in words: too much noise, one answer for all samples, no weight or kernel of integers."""
        found = []
        if self.sqnr_db is not None and self.least_db is not None and self.sqnr_db < self.least_db:
            found.append(f"accuracy: signal to noise {self.sqnr_db:.1f} dB, at least {self.least_db:g} dB asked")
        if self.decisions == 1 < self.float_decisions:
            found.append("accuracy: it gives every sample the same answer, and the float model does not")
        if not self.integer:
            found.append("nothing is quantized: every weight and every kernel is still a float")
        return found


@dataclass(frozen=True)
class Verdict:
    """The accuracy's drop with its interval, and what failed in words; nothing failed means passed."""

    drop: float
    low: float
    high: float
    limit: float
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether all gates hold."""
        return not self.failures

    def of_accuracy(self) -> "Verdict":
        """The verdict without the gates of size and speed."""
        return replace(self, failures=tuple(words for words in self.failures if words.startswith("accuracy")))

    def words(self) -> str:
        """Verdict in one sentence."""
        interval = f"drop {points(self.drop)} ({points(self.low)} to {points(self.high)}), limit {points(self.limit)}"
        return f"{interval}; {'; '.join(self.failures)}" if self.failures else interval


def points(share: float) -> str:
    """A share as percentage points."""
    return f"{share * 100:+.2f} pt" if share else "0 pt"


def drop_limit(gate: AccuracyGate, float_accuracy: float) -> float:
    """Largest drop of accuracy that the gate allows, as a share of all samples."""
    if gate.max_drop is None:
        return SHARE_OF[gate.profile or AccuracyProfile.MLPERF_99] * float_accuracy
    return gate.max_drop * (float_accuracy if gate.drop_type is DropType.RELATIVE else 1.0)


def judge(
    gates: Gates, found: Difference, size_ratio: float, speedup: Speedup | None, sight: Distinctions | None = None
) -> Verdict:
    """Judge a candidate by all gates.

    `found`: float model against quantized; `size_ratio` is quantized bytes over float bytes.
    """
    gate = gates.accuracy
    limit = drop_limit(gate, found.reference)
    failures = []
    judged = found.high if gate.evidence is Evidence.UPPER_BOUND else found.drop
    # Shares of whole samples: a rounding of the limit must not decide.
    if judged > limit + 1e-12:
        failures.append(
            "accuracy" if gate.evidence is Evidence.ESTIMATE else f"accuracy: {points(found.high)} cannot be ruled out"
        )
    failures += [] if sight is None else sight.failures()
    if gates.size is not None and size_ratio > gates.size.max_ratio:
        failures.append(f"size: {size_ratio:.2f} of the float model, at most {gates.size.max_ratio:g} asked")
    if gates.latency is not None and speedup is not None and speedup.high < gates.latency.min_speedup:
        failures.append(f"latency: {speedup.median:.2f} times as fast, at least {gates.latency.min_speedup:g} asked")
    return Verdict(found.drop, found.low, found.high, limit, tuple(failures))
