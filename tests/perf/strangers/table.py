"""Strangers' files, in Markdown from the committed JSON, for tests.perf.figures."""

import json
import textwrap
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "strangers.json"
PEERS = {"dynamic": "quantize_dynamic", "static": "quantize_static", "nncf": "NNCF", "olive": "Olive"}
TIE = 1.25  # as nearly equal as the ladder's own choice takes it, times faster multiplied by times smaller

Row = dict[str, Any]


def rows() -> dict[str, Row]:
    """By package and file."""
    found: dict[str, Row] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    return dict(sorted(found.items()))


def files() -> str:
    """A line for each file, and what they come to."""
    found = rows()
    head = ["package: file", "measure", "outcome", "ours", *PEERS.values()]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(_line(name, row) for name, row in found.items())]
    return "\n".join([*lines, "", _wrapped(_summary(found)), ""])


def worth(row: Row, size: int, milliseconds: float) -> float:
    """Times smaller multiplied by times as fast, by which the ladder chooses."""
    return float(row["float"]["sizeBytes"] / size * row["floatMs"] / milliseconds)


def better(row: Row) -> list[str]:
    """Peers that pass the same gates with a gain, and are worth more than what was published."""
    if "floatMs" not in row:
        return []
    own = row.get("own") if row["outcome"] != "kept-float" else None
    mine = worth(row, own["sizeBytes"], row["ownMs"]) if own else 1.0
    return [name for name, peer in row["peers"].items() if _passes(peer) and _worth(row, peer) > TIE * mine]


def _passes(peer: Row) -> bool:
    return "error" not in peer and bool(peer["passed"]) and not peer["noGain"]


def _worth(row: Row, peer: Row) -> float:
    return worth(row, peer["sizeBytes"], peer["ms"])


def _line(name: str, row: Row) -> str:
    if "own" not in row:
        return f"| {name} | | {row['outcome']} | {_safe(row['words'])} |{' |' * len(PEERS)}"
    own = "" if row["outcome"] == "kept-float" else _figures(row, row["own"], row["ownMs"], passes=True)
    peers = row.get("peers", {})
    cells = [_peer(row, peers[peer]) if peer in peers else "" for peer in PEERS]
    outcome = "kept float" if row["outcome"] == "kept-float" else row["published"]
    return f"| {name} | {_safe(row['measure'])} | {outcome} | {own} | {' | '.join(cells)} |"


def _peer(row: Row, peer: Row) -> str:
    if "error" in peer:
        return f"fails: {_safe(peer['error'])[:60]}"
    return _figures(row, peer, peer["ms"], passes=_passes(peer))


def _figures(row: Row, found: Row, milliseconds: float, *, passes: bool) -> str:
    noise = "equal" if found["sqnrDb"] is None else f"{found['sqnrDb']:.0f} dB"
    smaller, faster = row["float"]["sizeBytes"] / found["sizeBytes"], row["floatMs"] / milliseconds
    told = f"{found['accuracy'] * 100:.1f} %, {noise}, {smaller:.1f}x, {faster:.2f}x"
    return told if passes else f"*{told}*"


def _summary(found: dict[str, Row]) -> str:
    published = [row for row in found.values() if row["outcome"] in {"quantized", "half-precision"}]
    kept = [row for row in found.values() if row["outcome"] == "kept-float"]
    refused = [row for row in found.values() if row["outcome"] == "refused"]
    failed = [name for name, row in found.items() if row["outcome"] == "failed"]
    behind = {name: better(row) for name, row in found.items() if better(row)}
    abouts = [row["about"] for row in found.values()]
    machines = dict.fromkeys(f"{a['cpu']}, {a['cores']} cores, commit {a['commit']}" for a in abouts)
    loads = [about[when] for about in abouts for when in ("loadBefore", "loadAfter")] or [0.0]
    told = "; ".join(f"{name} ({', '.join(PEERS[peer] for peer in peers)})" for name, peers in behind.items())
    return (
        f"Of {len(found)} files {len(published)} are published smaller or faster, {len(kept)} stay float,"
        f" {len(refused)} are refused, {len(failed)} fail{': ' + ', '.join(failed) if failed else ''}."
        " A cell holds the share by that row's measure, signal to noise, times smaller, times as"
        " fast (one thread, the least CPU time of calls in turns, of rows from before commit af36504 the wall's);"
        " slanted: it does not pass the same gates, or gains nothing. A peer passes and is worth more (times smaller"
        f" multiplied by times as fast, by more than a quarter): {told or 'on no row'}. Inputs are made from each"
        " model's signature, by a seed. `python -m tests.perf.strangers --nncf PYTHON --olive PYTHON` measures it; this"
        f" one is [{RESULT.name}](/tests/perf/results/{RESULT.name}): {'; '.join(machines)}; load {min(loads):.1f} to"
        f" {max(loads):.1f}, other work beside it."
    )


def _safe(words: str) -> str:
    return textwrap.shorten(words.replace("|", "/").replace("<", "&lt;"), 240, placeholder=" ...")


def _wrapped(words: str) -> str:
    whole = words.replace(" %", "\0%")
    return textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ")
