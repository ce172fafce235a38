"""`pytest -p tests.perf.suite_cost`: the CPU time of each test file, with that of the processes that it started.

A process counts where it is waited for: a server that a whole folder shares counts in the file that ends it.
$SLIPWAY_SUITE_COST names a folder; each process of pytest-xdist writes a file there, a line for each test, and
`python -m tests.perf.suite_cost FOLDER` adds them up, the dearest files first.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

VARIABLE = "SLIPWAY_SUITE_COST"


def cpu_seconds() -> float:
    """Of this process and all its children that have been waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    spent, began = cpu_seconds(), time.monotonic()
    result = yield
    line = {"test": item.nodeid, "cpu": round(cpu_seconds() - spent, 2), "wall": round(time.monotonic() - began, 2)}
    _write(line)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    spent = cpu_seconds()
    result = yield
    _write({"test": "(collection)", "cpu": round(cpu_seconds() - spent, 2), "wall": 0.0})
    return result


def _write(line: dict[str, object]) -> None:
    folder = os.environ.get(VARIABLE)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def table(folder: Path, most: int) -> str:
    """Files by CPU seconds, each with its dearest test; all seconds on the last line."""
    cpu: Counter[str] = Counter()
    wall: Counter[str] = Counter()
    dearest: dict[str, tuple[float, str]] = defaultdict(lambda: (0.0, ""))
    for path in folder.glob("*.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            place, _, name = line["test"].partition("::")
            cpu[place] += line["cpu"]
            wall[place] += line["wall"]
            dearest[place] = max(dearest[place], (line["cpu"], name))
    lines = [f"{cpu[place]:8.1f} {wall[place]:8.1f}  {place}  {dearest[place]}" for place, _ in cpu.most_common(most)]
    return "\n".join([" CPU (s) wall (s)", *lines, f"{cpu.total():8.1f} {wall.total():8.1f}  all"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=40, help="files in the table")
    options = parser.parse_args()
    print(table(options.folder, options.most))


if __name__ == "__main__":
    main()
