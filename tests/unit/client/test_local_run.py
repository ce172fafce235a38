"""Runs on this machine by the client: real processes, with the same calls as in a cluster."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from slipway.client import AsyncClient, Client, FailedError, WaitTimeoutError

DIGITS = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "epochs": 1, "globalBatchSize": 256}


def says(words: str, code: int = 0, seconds: float = 0) -> None:
    import os
    import sys
    import time as own_time

    print(words, os.environ.get("COLOUR"), os.environ.get("WORLD_SIZE", "1"), flush=True)
    own_time.sleep(seconds)
    sys.exit(code)


def leaves_a_model() -> None:
    import os
    from pathlib import Path as OwnPath

    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2, 2)}, OwnPath(os.environ["SLIPWAY_OUTPUT_DIR"]) / "model.safetensors")


def test_a_function_runs_with_its_environment_and_its_log_is_there(tmp_path: Path) -> None:
    client = Client(local_folder=tmp_path)
    job = client.train("hello", func=says, func_args={"words": "good day"}, env={"COLOUR": "red"}, local=True)
    assert list(job.wait(60).logs()) == ["good day red 1"]
    assert "exit code 0" in repr(job)


def test_one_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    job = Client(local_folder=tmp_path).train("hello", func=says, func_args={"words": "oh no", "code": 3}, local=True)
    with pytest.raises(FailedError, match=r"(?s)exit code 3.*oh no"):
        job.wait(60)


def test_one_that_takes_too_long_goes_on_until_it_is_deleted(tmp_path: Path) -> None:
    arguments = {"words": "slow", "seconds": 600}
    job = Client(local_folder=tmp_path).train("slow", func=says, func_args=arguments, local=True)
    with pytest.raises(WaitTimeoutError, match="not ready"):
        job.wait(0.2)
    lines = iter(job.logs(follow=True))
    assert next(lines).startswith("slow")
    threading.Timer(0.1, job.delete).start()
    before = time.monotonic()
    assert list(lines) == []
    assert time.monotonic() - before < 60, "the log ends with its process"


async def test_a_recipe_is_trained_and_served_and_answers(tmp_path: Path) -> None:
    client = AsyncClient(local_folder=tmp_path)
    job = await client.train("digits", recipe=DIGITS, output="pvc://claim/digits", local=True)
    await job.wait(300)
    assert job.artifact.digest.startswith("sha256:")
    assert {metric.name for metric in job.artifact.metrics}
    service = await client.serve("digits", model=job, local=True)
    try:
        await service.wait(300)
        answer = await service.predict([[[[0.0] * 8] * 8]])
        (scores,) = answer.values()
        assert len(scores[0]) == 10
    finally:
        await service.delete()
