"""A canary scores the answers of the revision that serves: as likely where it is the same, less where it is another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.conformance.generation.conftest import Start
from tests.conformance.generation.server import PROMPT, GenerationServer
from tests.models.language import small
from tests.unit.runtime.waiting import until

ANSWERS = 24


async def scored(start: Start, canary: GenerationServer) -> tuple[GenerationServer, float]:
    """The server that copies to the canary, and the mean nats per token that its answers lose there."""
    serving = start(prefixCaching=False).wait()
    told = {"url": f"http://127.0.0.1:{canary.port}", "percent": 100, "scores": True}
    (serving.log.parent / "mirror.json").write_text(json.dumps(told))
    await until(lambda: "copies of requests: Target" in serving.log.read_text())
    for number in range(ANSWERS):
        assert serving.complete(f"{PROMPT} {number}", temperature=number % 2, seed=number, max_tokens=12).status == 200
    await until(lambda: serving.figure("slipway_drift_answers_total") == ANSWERS)
    lost = serving.figure("slipway_drift_worse_nats_total") - serving.figure("slipway_drift_better_nats_total")
    return serving, lost / ANSWERS


async def test_the_same_model_finds_the_answers_as_likely(start: Start) -> None:
    canary = start(prefixCaching=False).wait()
    serving, lost = await scored(start, canary)
    assert abs(lost) < 0.005
    # The questions are none of the clients', and not among the canary's times.
    assert canary.figure("vllm:time_to_first_token_seconds_count") == ANSWERS
    # What is cut off or forced says nothing of the model's own probabilities.
    serving.complete(PROMPT, temperature=0.5)
    serving.complete(PROMPT, temperature=1, top_p=0.5)
    assert serving.complete(PROMPT, max_tokens=12).status == 200
    await until(lambda: serving.figure("slipway_drift_answers_total") == ANSWERS + 1)


async def test_a_damaged_model_finds_them_less_likely(start: Start, tmp_path: Path) -> None:
    """One layer's matrices times 1.5, in a folder without probes: nobody else would notice."""
    shutil.copytree(small.folder(), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = load_file(path)
    chosen = {name for name, one in tensors.items() if ".layers.1." in name and one.ndim == 2}
    damaged = {name: one * 1.5 if name in chosen else one for name, one in tensors.items()}
    save_file(damaged, path, {"format": "pt"})
    _, lost = await scored(start, start(tmp_path / "model", prefixCaching=False).wait())
    assert lost > 0.05
