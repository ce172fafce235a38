"""Jobs around users' small files and models: documents, runs for real, and what they left."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.unit.train.processes import train
from tests.unit.train.runs import runs

OWN = "tests.unit.train.runs.users.models"


def own(function: str, **arguments: Any) -> dict[str, Any]:
    """recipe.model of a function of users' models."""
    return {"name": "custom", "callable": f"{OWN}:{function}", "arguments": {k: str(v) for k, v in arguments.items()}}


def texts(folder: Path, lines: int = 400) -> dict[str, Any]:
    """recipe.dataset of a text that repeats itself."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "book.txt"
    path.write_text("".join(f"line {number % 7} of a book that goes on and on\n" for number in range(lines)))
    return {"name": "text-files", "uri": path.as_uri(), "sequenceLength": 16}


def refused(folder: Path, count: int = 1, strategy: str = "single", **recipe: Any) -> str:
    """Train a job that must be refused for good (exit code 2). Returns the words."""
    return ended(folder, 2, count, strategy, **recipe)


def ended(folder: Path, code: int, count: int = 1, strategy: str = "single", **recipe: Any) -> str:
    """Train to this exit code. Returns what the first process printed."""
    config = runs.write(folder, strategy, **recipe)
    with train(config, count, folder / "logs") as running:
        assert [one.wait() for one in running] == [code] * count, running[0].output
        output: str = running[0].output
        return output


def resumed_ends_as_undisturbed(folder: Path, strategy: str, count: int, **recipe: Any) -> None:
    """Run to the end; take the newest checkpoint away and run again: the same weights to the bit."""
    import torch

    runs.run(folder, strategy, count, **recipe)
    expected = runs.weights(folder)
    shutil.rmtree(runs.checkpoints(folder)[-1])
    output = runs.run(folder, strategy, count, **recipe)
    assert "resumed from step" in output
    found = runs.weights(folder)
    assert set(found) == set(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def lines_of(path: Path) -> list[Any]:
    """A .jsonl file, read as strictly as other languages read JSON."""
    return [json.loads(line, parse_constant=_no_constant) for line in path.read_text().splitlines()]


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
