"""Report of a run: `report.html` in the artifact, in one file that needs nothing else.

What was trained on what and how it went: figures, curves by step, speed, memory, recipe, lineage, and some held-out
samples with the model's answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from workloads.measure.charts import STYLE, Axis, Points, lines

STEP = Axis("optimizer step", low=0)
NAMES = {
    "epoch": "epoch",
    "step": "step",
    "trainingLoss": "training loss",
    "loss": "held-out loss",
    "accuracy": "accuracy, %",
    "accuracyLow95": "accuracy, lower 95 %, %",
    "accuracyHigh95": "accuracy, upper 95 %, %",
    "perplexity": "perplexity",
    "averagePrecision50": "mAP at half overlap",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "r2": "R2",
    "f1": "F1, all decisions",
    "f1Macro": "F1, mean of the labels",
    "meanAveragePrecision": "mean average precision",
    "meanIou": "mean IoU",
    "pixelAccuracy": "right pixels, %",
    "learningRate": "learning rate",
    "samplesPerSecond": "samples/s",
    "tokensPerSecond": "tokens/s",
    "flopsPerSecond": "GFLOP/s",
    "mfu": "MFU, %",
    "communicationShare": "communication, %",
    "peakMemoryBytes": "peak memory, MiB",
    "samples": "held-out samples",
}
_FACTORS = dict.fromkeys(
    ("accuracy", "accuracyLow95", "accuracyHigh95", "pixelAccuracy", "mfu", "communicationShare"), 100.0
)
_FACTORS |= {"flopsPerSecond": 1e-9, "peakMemoryBytes": 2.0**-20}
LEARNING = (
    *("epoch", "step", "trainingLoss", "loss", "accuracy", "perplexity", "averagePrecision50"),
    *("rmse", "r2", "f1", "meanAveragePrecision", "meanIou", "learningRate"),
)
SPEED = (
    "epoch",
    "samplesPerSecond",
    "tokensPerSecond",
    "flopsPerSecond",
    "mfu",
    "communicationShare",
    "peakMemoryBytes",
)


@dataclass(frozen=True)
class Sample:
    """A held-out sample with its answer. `picture`: a PNG as data URI; empty for what is no picture."""

    picture: str
    true: str
    found: str
    certainty: float


@dataclass(frozen=True)
class Content:
    """Content of a report. `history`: rows of metrics.jsonl. `curve`: (step, training loss) at some steps."""

    title: str
    created: str
    summary: str
    facts: Mapping[str, Any]
    metrics: Mapping[str, float]
    data: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    curve: Points
    recipe: Sequence[tuple[str, str]] = ()
    lineage: Mapping[str, Any] = field(default_factory=dict)
    lives: Sequence[str] = ()
    samples: Sequence[Sample] = ()


def page(content: Content, *, charts: bool = True) -> str:
    """The page, with its charts or without."""
    title = escape(content.title)
    sections = [
        f'<h1>{title}</h1><p>{escape(content.summary)}</p><p class="muted">{escape(content.created)}</p>',
        _facts("Result", {NAMES.get(name, name): _value(name, value) for name, value in content.metrics.items()}),
        _charts(content) if charts else "",
        _facts("Model and run", content.facts),
        _facts("Data", content.data),
        _samples(content.samples),
        _rows("Learning", LEARNING, content.history),
        _rows("Speed and memory", SPEED, content.history),
        _lives(content.lives),
        _facts("Recipe", dict(content.recipe)),
        _facts("Lineage", content.lineage),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "".join(sections)
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n'


def _charts(content: Content) -> str:
    def column(name: str) -> Points:
        rows = [row for row in content.history if isinstance(row.get(name), int | float)]
        return [(float(row["step"]), float(row[name]) * _FACTORS.get(name, 1.0)) for row in rows]

    drawn = [
        lines({"training": content.curve, "held out": column("loss")}, STEP, Axis("loss, nats", low=0)),
        lines({"held out": column("accuracy")}, STEP, Axis("accuracy, %", low=0, high=100)),
        lines({"held out": column("perplexity")}, STEP, Axis("perplexity (logarithmic)", logarithmic=True)),
        lines({"held out": column("averagePrecision50")}, STEP, Axis("mAP at half overlap", low=0, high=1)),
        lines({"rate": column("learningRate")}, STEP, Axis("learning rate", low=0)),
        lines({"speed": column("samplesPerSecond")}, STEP, Axis("samples per second", low=0)),
        lines({"speed": column("tokensPerSecond")}, STEP, Axis("tokens per second", low=0)),
        lines({"peak": column("peakMemoryBytes")}, STEP, Axis("peak memory of a process, MiB", low=0)),
    ]
    figures = "".join(f"<figure>{one}</figure>" for one in drawn if one)
    return f'<h2>By step</h2><div class="plots">{figures}</div>' if figures else ""


def _facts(title: str, facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(_shown(value))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<h2>{title}</h2><table>{rows}</table>" if rows else ""


def _rows(title: str, columns: Sequence[str], history: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in columns if any(row.get(name) is not None for row in history)]
    if len(names) < 2:
        return ""
    head = "".join(f'<th class="n">{escape(NAMES[name])}</th>' for name in names)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="n">{escape(_shown(_value(name, row.get(name))))}</td>' for name in names)
        + "</tr>"
        for row in history
    )
    return f'<h2>{title}</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _samples(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    figures = "".join(
        f'<figure><img src="{escape(one.picture)}" alt="a held-out sample">'
        f'<figcaption class="{"right" if one.true == one.found else "wrong"}">{escape(one.found)} '
        f"({one.certainty:.0%}){'' if one.true == one.found else f', is {escape(one.true)}'}</figcaption></figure>"
        for one in samples
    )
    return f'<h2>Held-out samples and the answers</h2><div class="samples">{figures}</div>'


def _lives(lives: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(one)}</li>" for one in lives)
    return f"<h2>Resumes and changes</h2><ul>{items}</ul>" if items else ""


def _value(name: str, value: Any) -> Any:
    return value * _FACTORS[name] if name in _FACTORS and isinstance(value, int | float) else value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
