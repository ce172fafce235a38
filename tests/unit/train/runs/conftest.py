"""Multi-process tests of the trainer share the server that processes are forked from with the unit tests."""

import importlib.util
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.unit.train import processes


@pytest.fixture(scope="session", autouse=True)
def _processes() -> None:
    wanted = ("deepspeed", "transformers.models.gpt2")
    processes.prepare(*(name for name in wanted if importlib.util.find_spec(name.partition(".")[0])))
