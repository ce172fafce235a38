"""Multi-process tests of the trainer share the server that processes are forked from with the unit tests."""

import importlib.util
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tests.unit.train import processes


@pytest.fixture(scope="session", autouse=True)
def _processes() -> None:
    # The last one's decorators import all of torch's compiler, in each process that DeepSpeed initializes.
    wanted = ("deepspeed", "transformers.models.gpt2", "deepspeed.runtime.zero.muon.original_muon")
    processes.prepare(*(name for name in wanted if importlib.util.find_spec(name.partition(".")[0])))
