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
    wanted = (
        "deepspeed",
        "deepspeed.runtime.zero.muon.original_muon",
        # The packages alone are lazy: each process imported their models anew.
        "transformers.models.gpt2.modeling_gpt2",
        "transformers.models.bert.modeling_bert",
    )
    processes.prepare(*(name for name in wanted if importlib.util.find_spec(name.partition(".")[0])))
