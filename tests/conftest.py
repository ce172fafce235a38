"""How the suite is shared out when pytest-xdist runs it (`make test`): what shares a server stays in one process.

The slowest parts begin first, so that the small ones fill the gaps that these leave while they wait.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine stops a process for longer than the 200 ms that hypothesis lets an example take.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# The processes of pytest-xdist, and hundreds that the tests start, import the same files: each would compile them anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# There are more processes of pytest-xdist than cores: torch's threads in each would spin while they wait for others,
# which doubles the work. Read when torch is first imported, here and in what we start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

HERE = Path(__file__).parent
# Characters of a value in a test's name.
LONGEST = 60
# Folders whose tests share one cluster, one control plane or one trained model, the longest first.
SHARED = (
    "e2e",
    "api",
    "chaos",
    "unit/quantize",
    "unit/train/runs",
    "api/inferenceservice",
    "api/forged",
    "conformance",
    "api/trainingjob",
)
# Files that share nothing and take longest: one of them begun last would keep the other processes waiting.
LONG = (
    "unit/hostile/test_objects.py",
    "unit/compress/test_methods.py",
    "unit/serve/text/test_texts.py",
    "unit/bench/test_command.py",
    "unit/hostile/test_fuzz.py",
    "unit/hostile/test_pages.py",
    "unit/hostile/test_posts.py",
    "unit/install/test_equal.py",
    "unit/serve/models/test_import.py",
    "unit/trainingjob/machine/test_machine.py",
    "unit/cluster/test_control_plane.py",
    "unit/api/test_agreement.py",
)
ORDER = (*SHARED, *LONG)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their argument: each process must give a test the same name, whatever was drawn or packed.

    A certificate, a gzip with its time, or a picture in a name ended the whole run: the processes had different tests.
    """
    long = isinstance(val, (bytes, str)) and len(val) > LONGEST
    return argname if long else None


@pytest.hookimpl(tryfirst=True)  # before xdist, which writes the groups into the names that it shares out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group by folder where there is something to share, else by file; the long groups in front."""
    if found := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"an address in a test's name is another one in each process: {found[0]}")
    paths = {item.path for item in items}
    places = {path: path.relative_to(HERE) for path in paths if HERE in path.parents}
    marks = {path: pytest.mark.xdist_group(_group(place)) for path, place in places.items()}
    ranks = {path: _rank(place) for path, place in places.items()}
    for item in items:
        if item.path in marks:
            item.add_marker(marks[item.path])
    items.sort(key=lambda item: ranks.get(item.path, (len(ORDER), True)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Keep what torch's exporter knows of all operators: it put it together anew for each model, half of its work."""
    exporter = sys.modules.get("torch.onnx._internal.exporter._registration")
    if exporter is not None and not isinstance(exporter.ONNXRegistry.__dict__["from_torchlib"], staticmethod):
        exporter.ONNXRegistry.from_torchlib = staticmethod(functools.cache(exporter.ONNXRegistry.from_torchlib))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays to the end: asked again whether it is garbage, it took half a second each time.

    pytest-xdist's own process collects nothing, and goes on with its garbage collector as any other.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _shared(place: Path) -> str | None:
    folders = [parent.as_posix() for parent in place.parents]
    return next((folder for folder in folders if folder in SHARED), None)


def _group(place: Path) -> str:
    return _shared(place) or place.as_posix()


def _rank(place: Path) -> tuple[int, bool]:
    group = _group(place)
    # pytest-xdist gives a process its next group before the last two tests of this one: they should not be the longest.
    return ORDER.index(group) if group in ORDER else len(ORDER), place.name != "test_storm.py"
