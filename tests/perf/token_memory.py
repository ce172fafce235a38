"""`python -m tests.perf.token_memory`: the memory in which a text of 5 MB and one of 500 MB become a data set.

A process of its own opens each, by bytes and by a tokenizer.json of 2,048 tokens; what is measured is its peak of
resident memory above its imports. Results go to tests/perf/results/token_memory.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.perf import machine

RESULT = Path(__file__).parent / "results" / "token_memory.json"
MEGABYTES = (5, 500)
WORDS, LINES = 20_000, 50_000


def small_tokenizer(text: str, vocabulary: int = 300) -> Any:
    """Byte-level BPE as GPT-2's, learned from some text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    )
    return made


def write(folder: Path, megabytes: int, kind: str) -> Path:
    """A text of lines of words that are as frequent as words are; beside it the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(0)
    letters = "etaoinshrdlu"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(WORDS)]
    weights = [*itertools.accumulate(1 / (rank + 1) for rank in range(WORDS))]
    lines = [" ".join(dice.choices(words, cum_weights=weights, k=12)) for _ in range(LINES)]
    path = folder / "book.txt"
    with path.open("w") as file:
        while file.tell() < megabytes * 10**6:
            file.write("\n".join(dice.choices(lines, k=2_000)) + "\n")
    if kind == "tokenizer":
        small_tokenizer(path.open().read(10**6), 2048).save(str(folder / "tokenizer.json"))
    return path


def measure(path: Path, kind: str) -> dict[str, Any]:
    """Of this process."""
    from slipway.api.common.sources import DatasetChoice
    from workloads.data import open_set
    from workloads.data.texts import text_files  # noqa: F401 (their own size is not the text's)
    from workloads.measure import rss

    more = {"tokenizer": (path.parent / "tokenizer.json").as_uri()} if kind == "tokenizer" else {}
    if more:
        import tokenizers  # noqa: F401
    choice = DatasetChoice.model_validate({"name": "text-files", "uri": path.as_uri(), "sequenceLength": 1024, **more})
    found: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="slipway-tokens-", dir=path.parent) as cache:
        os.environ["SLIPWAY_CACHE_DIR"] = cache
        started = time.monotonic()
        grown = rss.peak_growth(lambda: found.append(open_set(choice)))
        seconds = time.monotonic() - started
    samples = len(found[0].training) + len(found[0].held_out)
    return {"bytes": grown, "samples": samples, "seconds": round(seconds, 1)}


def row(megabytes: int, kind: str) -> dict[str, Any]:
    """In a process of its own."""
    with tempfile.TemporaryDirectory(prefix="slipway-text-", dir="/var/tmp") as name:
        path = write(Path(name), megabytes, kind)
        command = [sys.executable, "-m", "tests.perf.token_memory", "--measure", str(path), "--kind", kind]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout.splitlines()[-1])
        size = path.stat().st_size
    per_byte = round(said["bytes"] / size, 3)
    return {"tokens": kind, "textBytes": size, "grownBytes": said["bytes"], "perByteOfText": per_byte, **said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--kind", default="bytes", choices=["bytes", "tokenizer"])
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure, options.kind)))
        return
    about = {**machine.describe(), "loadBefore": machine.load()}
    rows = [row(megabytes, kind) for kind in ("bytes", "tokenizer") for megabytes in MEGABYTES]
    for one in rows:
        print(json.dumps(one))
    RESULT.write_text(json.dumps({"about": {**about, "loadAfter": machine.load()}, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
