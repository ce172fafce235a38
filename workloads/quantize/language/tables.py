"""Tables of a language model's job: what was tried, for status and report. Pure."""

import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slipway.api.quantization.ladder import Rung
from slipway.api.quantization.status import Candidate, GateResult, Headline, Outcome
from workloads.quantize.job import Job
from workloads.quantize.language.judging import Judged

REPORT_JSON, REPORT_HTML = "report.json", "report.html"


@dataclass(frozen=True)
class Tried:
    """A candidate with its verdict."""

    rung: Rung
    folder: Path
    judged: Judged
    bytes_: int
    gates: list[GateResult]
    words: str

    @property
    def passed(self) -> bool:
        """True when every gate holds."""
        return all(gate.passed for gate in self.gates)


def digest(text: str) -> str:
    """Digest of a report."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def rows(size: int, tried: Sequence[Tried]) -> list[Candidate]:
    """Candidates with the float model of `size` bytes first."""
    words = f"perplexity {tried[0].judged.float_perplexity:.3f}"
    found = [Candidate(name="float", size_bytes=size, message=words)]
    for one in tried:
        agreement = sum(one.judged.same) / sum(one.judged.tokens)
        found.append(
            Candidate(
                name=one.rung.value,
                rung=one.rung.value,
                agreement=agreement,
                size_bytes=one.bytes_,
                passed=one.passed,
                message=one.words[:1024],
            )
        )
    return found


def headline(size: int, shown: Tried) -> Headline:
    """The candidate that is shown against the float model of `size` bytes."""
    increase = shown.judged.increase(0.95)
    return Headline(
        float_=f"perplexity {shown.judged.float_perplexity:.3f}",
        quantized=f"perplexity {shown.judged.perplexity:.3f}",
        drop=f"{increase[0]:+.2%} ({increase[1]:+.2%} to {increase[2]:+.2%})",
        size=f"{size / shown.bytes_:.1f}x",
    )


def report(job: Job, source: str, size: int, tried: Sequence[Tried], outcome: Outcome) -> dict[str, str]:
    """Both reports by the names of their files. `source`: the float model's digest, `size`: its bytes."""
    listed = [row.wire() for row in rows(size, tried)]
    whole: dict[str, Any] = {
        "job": job.reference.wire(),
        "source": {"uri": job.model_uri, "digest": source},
        "outcome": outcome.value,
        "gates": job.spec.gates.wire(),
        "candidates": listed,
        "documents": {one.rung.value: asdict(one.judged) for one in tried},
    }
    names = ("name", "message", "sizeBytes", "passed")
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row.get(name, '')))}</td>" for name in names) + "</tr>"
        for row in listed
    )
    head = "".join(f"<th>{name}</th>" for name in names)
    title = html.escape(f"{job.reference.name}: {outcome.value}")
    table = f"<table><tr>{head}</tr>{cells}</table>"
    page = f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{table}"
    return {REPORT_JSON: json.dumps(whole, indent=1, sort_keys=True) + "\n", REPORT_HTML: page}
