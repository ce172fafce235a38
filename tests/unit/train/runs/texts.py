"""Text for tests: sentences of a little grammar, so that a small model can learn something in seconds."""

import json
import random
from pathlib import Path
from typing import Any

WHO = ("the pilot", "a sailor", "the old captain", "my sister", "a fisherman", "the mate")
DOES = ("mends", "paints", "steers", "leaves", "watches", "buys")
WHAT = ("a boat", "the sail", "an anchor", "the harbour", "a rope", "the tide")


def sentence(seeded: random.Random) -> str:
    return f"{seeded.choice(WHO)} {seeded.choice(DOES)} {seeded.choice(WHAT)} . "


def wikitext(folder: Path, sentences: int = 600) -> Path:
    """As WikiText is unpacked."""
    folder.mkdir(parents=True, exist_ok=True)
    seeded = random.Random(1)
    for name, count in (("train", sentences), ("valid", sentences // 8), ("test", sentences // 8)):
        (folder / f"wiki.{name}.tokens").write_text("".join(sentence(seeded) for _ in range(count)))
    return folder


def table(path: Path, rows: int = 400) -> Path:
    """Whether somebody buys."""
    seeded = random.Random(2)
    lines = []
    for _ in range(rows):
        text = sentence(seeded)
        lines.append(json.dumps({"text": text, "label": "trade" if "buys" in text or "paints" in text else "work"}))
    path.write_text("\n".join(lines))
    return path


def language(folder: Path, **recipe: Any) -> dict[str, Any]:
    """A recipe that trains a tiny GPT-2 on it."""
    return {
        "model": {"name": "gpt2", "layers": 2, "hiddenSize": 32, "heads": 2},
        "dataset": {"name": "text-files", "uri": wikitext(folder / "text").as_uri(), "sequenceLength": 32},
        "globalBatchSize": 32,
        "epochs": 2,
        "optimizer": {"name": "adamw", "learningRate": 0.01},
        **recipe,
    }
