"""Pictures of docs/concepts.md: `python -m tests.unit.docs.pictures` writes them as SVG, from boxes and arrows."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

from slipway.api.common.types import Reason
from slipway.api.quantization import quantizationjob
from slipway.api.search import searchjob
from slipway.api.serving import inferenceservice
from slipway.api.training import trainingjob
from tests.cluster.paths import REPOSITORY

FOLDER = REPOSITORY / "docs" / "pictures"
WIDTH, HEIGHT = 170, 56
"""Size of a box, in pixels."""


@dataclass(frozen=True)
class Box:
    """One thing, by its upper left corner, with a line of words under its name."""

    x: int
    y: int
    name: str
    words: str = ""


@dataclass(frozen=True)
class Arrow:
    """What goes from one box to another, by their names; `bend` lifts it over what lies between, in pixels."""

    start: str
    end: str
    words: str = ""
    bend: int = 0


def svg(title: str, boxes: list[Box], arrows: list[Arrow]) -> str:
    """The picture. KeyError where an arrow names no box."""
    known = {box.name: box for box in boxes}
    width, height = max(box.x for box in boxes) + WIDTH + 20, max(box.y for box in boxes) + HEIGHT + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#37474f"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *(line for arrow in arrows for line in _arrow(arrow, known)),
        *(line for box in boxes for line in _box(box)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(box: Box) -> list[str]:
    middle = box.x + WIDTH // 2
    return [
        f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#e3f2fd" stroke="#37474f"/>',
        f'<text x="{middle}" y="{box.y + (24 if box.words else 33)}" font-weight="bold">{escape(box.name)}</text>',
        *([f'<text x="{middle}" y="{box.y + 43}" font-size="11">{escape(box.words)}</text>'] if box.words else []),
    ]


def _arrow(arrow: Arrow, known: dict[str, Box]) -> list[str]:
    one, other = known[arrow.start], known[arrow.end]
    start, end = _edges(one, other, arrow.bend)
    middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2 - arrow.bend)
    path = f"M{start[0]} {start[1]} Q{middle[0]} {middle[1]} {end[0]} {end[1]}"
    line = f'<path d="{path}" fill="none" stroke="#37474f" marker-end="url(#tip)"/>'
    at = (middle[0], (start[1] + end[1]) // 2 - arrow.bend // 2 - 6)
    return [
        line,
        *([f'<text x="{at[0]}" y="{at[1]}" font-size="11">{escape(arrow.words)}</text>'] if arrow.words else []),
    ]


def _edges(one: Box, other: Box, bend: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where an arrow leaves the one and meets the other: sides that face each other, or a bent one's tops."""
    if bend:
        side = 0 if bend > 0 else HEIGHT
        return (one.x + WIDTH // 2, one.y + side), (other.x + WIDTH // 2, other.y + side)
    if one.y == other.y:
        left = one.x < other.x
        y = one.y + HEIGHT // 2
        return (one.x + (WIDTH if left else 0), y), (other.x + (0 if left else WIDTH), y)
    down = one.y < other.y
    return (one.x + WIDTH // 2, one.y + (HEIGHT if down else 0)), (
        other.x + WIDTH // 2,
        other.y + (0 if down else HEIGHT),
    )


def chain() -> str:
    """What is made of what."""
    train, quantize = trainingjob.KIND.kind, quantizationjob.KIND.kind
    search, serve = searchjob.KIND.kind, inferenceservice.KIND.kind
    boxes = [
        Box(20, 20, search, "many trials, the best kept"),
        Box(20, 140, train, "a gang of pods"),
        Box(330, 140, quantize, "smaller, under gates"),
        Box(640, 140, serve, "replicas that answer"),
    ]
    arrows = [
        Arrow(search, train, ""),
        Arrow(train, quantize, "artifact, by digest"),
        Arrow(quantize, serve, "artifact, by digest"),
        Arrow(train, serve, "without quantization, too", -70),
    ]
    return svg("The chain: search, train, quantize, serve", boxes, arrows)


def life() -> str:
    """What becomes of a job, by the reason of its condition Ready."""
    row = [Reason.QUEUED, Reason.PODS_PENDING, Reason.ALL_PODS_RUNNING, Reason.SUCCEEDED]
    words = ["no room for all pods yet", "asked for, none alone", "", "the artifact is there"]
    boxes = [
        Box(20 + 250 * index, 90, reason.value, text)
        for index, (reason, text) in enumerate(zip(row, words, strict=True))
    ]
    boxes += [
        Box(270, 240, Reason.SUSPENDED.value, "by runPolicy.suspend"),
        Box(520, 240, Reason.RESTARTING.value, "from the checkpoint"),
        Box(770, 240, Reason.MAX_RESTARTS_EXCEEDED.value, "the budget is used up"),
    ]
    names = [reason.value for reason in row]
    arrows = [Arrow(*pair) for pair in pairwise(names)]
    arrows += [
        Arrow(Reason.ALL_PODS_RUNNING.value, Reason.RESTARTING.value, ""),
        Arrow(Reason.RESTARTING.value, Reason.PODS_PENDING.value, ""),
        Arrow(Reason.RESTARTING.value, Reason.MAX_RESTARTS_EXCEEDED.value, ""),
        Arrow(Reason.ALL_PODS_RUNNING.value, Reason.SUSPENDED.value, ""),
        Arrow(Reason.SUSPENDED.value, Reason.QUEUED.value, ""),
        Arrow(Reason.PODS_PENDING.value, Reason.QUEUED.value, "no node within scheduleTimeoutSeconds", 70),
    ]
    return svg("The life of a job, by reasons", boxes, arrows)


PICTURES = {"chain.svg": chain, "life.svg": life}


def write(folder: Path = FOLDER) -> None:
    """Write all of them."""
    folder.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (folder / name).write_text(draw())


if __name__ == "__main__":
    write()
