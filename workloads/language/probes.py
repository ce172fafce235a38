"""Probes: prompts with the answers of the model as it was judged, which whoever serves it replays before it is ready.

An answer is what greedy decoding appends, token by token, with each token's log-probability (nats) and its margin to
the second best. Every engine can repeat that, also one that tells nothing but the chosen tokens' log-probabilities.
An adapter's probes hold the base model's answers too, so that an adapter which was not applied is told from a broken
engine. Pure: numbers in, a verdict out.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slipway.api.common.language import PROBES_FILE
from workloads import strict_json
from workloads.errors import Corrupt
from workloads.language.config import json_of

MISMATCH, NOT_APPLIED = "ProbeMismatch", "AdapterNotApplied"
TOLERANCE = 0.05  # nats, largest of one token: a cache of 16 bits is off by 0.001, one of 8 bits by 0.023
VERSION = 1


@dataclass(frozen=True)
class Answer:
    """Tokens that follow a prompt, each one's log-probability, and how far the second best is below it."""

    tokens: list[int]
    log_probabilities: list[float]
    margins: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Probe:
    """A prompt's tokens and the answer to it. `base`: the base model's, of an adapter's probe."""

    prompt: list[int]
    answer: Answer
    base: Answer | None = None


@dataclass(frozen=True)
class Probes:
    """Probes with what they were measured by: name and version of the engine, number formats."""

    measured: dict[str, str]
    probes: list[Probe]

    def write(self, folder: Path) -> None:
        """probes.json in the folder."""
        (folder / PROBES_FILE).write_text(strict_json.document(self.document()))

    def document(self) -> dict[str, Any]:
        """Content of probes.json."""
        return {
            "formatVersion": VERSION,
            "measured": self.measured,
            "tolerance": TOLERANCE,
            "probes": [
                {
                    "prompt": probe.prompt,
                    "answer": _camel(probe.answer),
                    **({} if probe.base is None else {"base": _camel(probe.base)}),
                }
                for probe in self.probes
            ],
        }


@dataclass(frozen=True)
class Verdict:
    """Outcome of a replay. `reason` is empty when the engine answers as the model was judged."""

    reason: str
    words: str
    largest: float


def read(folder: Path) -> Probes:
    """The probes of an artifact. Corrupt for a file of another form; BadInput where there is none."""
    found = json_of(folder / PROBES_FILE)
    if found.get("formatVersion") != VERSION:
        raise Corrupt(
            f"{folder / PROBES_FILE}: format version {found.get('formatVersion')}, this release has {VERSION}"
        )
    try:
        listed = [
            Probe(
                [int(one) for one in probe["prompt"]],
                _answer(probe["answer"]),
                _answer(probe["base"]) if "base" in probe else None,
            )
            for probe in found["probes"]
        ]
        measured = {str(name): str(value) for name, value in found["measured"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"{folder / PROBES_FILE}: {error!r}") from error
    if not listed or any(not probe.prompt or not probe.answer.tokens for probe in listed):
        raise Corrupt(f"{folder / PROBES_FILE}: a probe without a prompt or an answer proves nothing")
    return Probes(measured, listed)


def compared(probes: Sequence[Probe], served: Sequence[Answer], tolerance: float = TOLERANCE) -> Verdict:
    """Judge an engine's greedy answers to the probes' prompts, in their order.

    `tolerance`: nats that a token's log-probability may be off. AdapterNotApplied where an adapter's engine answers as
    the base model does.
    """
    if len(served) != len(probes) or not probes:
        return Verdict(MISMATCH, f"{len(served)} answers to {len(probes)} probes", math.inf)
    largest, words = _worst([probe.answer for probe in probes], served, tolerance)
    if largest <= tolerance:
        return Verdict("", f"{len(probes)} probes answered within {largest:.4f} nats", largest)
    bases = [probe.base for probe in probes if probe.base is not None]
    if len(bases) == len(probes) and _worst(bases, served, tolerance)[0] <= tolerance:
        return Verdict(NOT_APPLIED, "the engine answers as the base model does: the adapter has no effect", largest)
    return Verdict(MISMATCH, words, largest)


def distinct(probes: Sequence[Probe], tolerance: float = TOLERANCE) -> bool:
    """Tell whether an adapter's probes tell it from its base: otherwise nobody can prove that it was applied."""
    bases = [probe.base for probe in probes if probe.base is not None]
    return len(bases) == len(probes) and _worst([probe.answer for probe in probes], bases, 2 * tolerance)[0] > (
        2 * tolerance
    )


def _worst(wanted: Sequence[Answer], served: Sequence[Answer], tolerance: float) -> tuple[float, str]:
    """The largest difference and where it is; infinite for other tokens, unless the two best were a tie."""
    largest, words = 0.0, ""
    for number, (one, found) in enumerate(zip(wanted, served, strict=True)):
        for place, (token, value) in enumerate(zip(one.tokens, one.log_probabilities, strict=True)):
            if place >= len(found.tokens) or place >= len(found.log_probabilities):
                return math.inf, f"probe {number}: the answer ended after {place} of {len(one.tokens)} tokens"
            if found.tokens[place] != token:
                margin = one.margins[place] if place < len(one.margins) else math.inf
                if margin <= 2 * tolerance:
                    break  # a tie within the tolerance: what follows is another text
                return (
                    math.inf,
                    f"probe {number}: token {found.tokens[place]} at {place}, the judged model said {token}",
                )
            off = abs(found.log_probabilities[place] - value)
            if not off <= largest:  # not a number is never within anything
                largest = off if math.isfinite(off) else math.inf
                words = f"probe {number}, token {place}: log-probability {found.log_probabilities[place]:.4f}, "
                words += f"the judged model's was {value:.4f}"
    return largest, words


def _camel(answer: Answer) -> dict[str, Any]:
    plain = asdict(answer)
    return {"tokens": plain["tokens"], "logProbabilities": plain["log_probabilities"], "margins": plain["margins"]}


def _answer(found: Mapping[str, Any]) -> Answer:
    answer = Answer(
        [int(one) for one in found["tokens"]],
        [float(one) for one in found["logProbabilities"]],
        [float(one) for one in found.get("margins", [])],
    )
    if len(answer.tokens) != len(answer.log_probabilities) or not all(map(math.isfinite, answer.log_probabilities)):
        raise ValueError(f"{len(answer.tokens)} tokens with {json.dumps(answer.log_probabilities)[:80]}")
    return answer
