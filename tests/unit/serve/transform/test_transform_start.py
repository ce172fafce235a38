"""Own code that cannot be imported ends the start in words, at the first start and at a later one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.runtime.waiting import until
from tests.unit.serve.serving import serving
from workloads.errors import BadInput
from workloads.serve.settings import TransformChoice
from workloads.serve.transform.workers import Workers

OWN = "tests.unit.serve.transform.own_code"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_there_at_all:f", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        (f"{OWN}:missing", "AttributeError"),
        (f"{OWN}:NOT_A_FUNCTION", "is no function but int"),
        (f"{OWN}:coroutine", "is a coroutine"),
        (f"{OWN}:no_arguments", "does not take one dict of arrays"),
        ("exits:f", "ended with exit code 7"),
        ("raises:f", "RuntimeError: not today"),
        ("hangs:f", "importing hangs:f has not ended within 3 s"),
    ],
)
async def test_an_import_error_ends_the_start_in_words(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "exits.py").write_text("import os; os._exit(7)")
    (tmp_path / "raises.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "hangs.py").write_text("import time; time.sleep(3600)")
    seconds = 3 if name.startswith("hangs") else 60
    workers = Workers(TransformChoice(name, path=str(tmp_path), startup=seconds), 10, 1 << 20, 10)
    with pytest.raises(BadInput, match="transform") as failed:
        await workers.start()
    assert words in str(failed.value)
    assert not any(workers.numbers)


async def test_a_worker_that_does_not_start_again_ends_the_pod_in_words(tmp_path: Path) -> None:
    module = tmp_path / "short.py"
    module.write_text("import os\ndef f(inputs):\n    os._exit(3)\n")
    choice = TransformChoice("short:f", path=str(tmp_path), workers=1)
    async with serving(transform=choice) as server:
        module.write_text("raise OSError('the volume is gone')")
        assert (await server.infer([1.0]))[0] == 500
        await until(lambda: bool(server.app.broken), 60)
        assert "the volume is gone" in server.app.broken
        assert not server.app.ready


def test_the_command_ends_with_2_in_words() -> None:
    command = ["serve", "--model", "/nowhere", "--preprocess", "nobody.knows:it", "--port", "0", "--grpc-port", "-1"]
    run = subprocess.run(
        [sys.executable, "-m", "workloads", *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 2, run.stderr
    words = "transform.preprocess nobody.knows:it cannot be imported: ModuleNotFoundError: No module named 'nobody'"
    assert words in run.stderr.splitlines()[-1]
