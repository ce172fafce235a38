"""What the processes of these tests share: language models' libraries, imported once by the server they come from."""

import importlib.util

import pytest

from tests.unit.train import processes


@pytest.fixture(scope="session", autouse=True)
def _processes() -> None:
    wanted = ("transformers.models.llama.modeling_llama", "peft")
    processes.prepare(*(name for name in wanted if importlib.util.find_spec(name.partition(".")[0])))
