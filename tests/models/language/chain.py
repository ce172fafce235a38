"""The whole chain on this machine: fine-tune, four bits under a gate, serve, and a streamed answer. `make demo-llm`.

With the small model of the tests and the programs of the pods, one after the other; it ends with a table.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conformance.generation.server import GenerationServer
from tests.conformance.server import ROOT
from tests.models.language import small
from tests.unit.train.fine_tuning import tuning

QUESTION = "what is the capital of France, number 3?"


def run(folder: Path, command: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    """One of the programs of the pods, with its document."""
    metadata = {"name": name, "namespace": "ml", "uid": tuning.UID}
    document = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
    argv = [sys.executable, "-m", "workloads", command, "--config", str(path)]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")


def chats(folder: Path) -> str:
    """Chats about capitals, a part of them held out."""
    every = tuning.chats(40)
    data = folder / "chats"
    data.mkdir()
    tuning.lines(data / "train.jsonl", [one for number, one in enumerate(every) if number % 10])
    tuning.lines(data / "test.jsonl", every[::10])
    return data.as_uri()


def tuned(folder: Path, data: str) -> dict[str, Any]:
    """Fine-tune by LoRA; the merged model is published."""
    recipe = {
        "model": {"name": "causal-lm", "uri": small.folder().as_uri()},
        "dataset": {"name": "sft", "uri": data, "format": "messages", "loss": "assistant", "maxLength": 64},
        "peft": {"method": "lora", "r": 16, "loraAlpha": 32},
        "epochs": 6,
        "globalBatchSize": 16,
        "optimizer": {"name": "adamw", "learningRate": 0.01},
    }
    output = {"uri": (folder / "assistant").as_uri(), "merge": "merged"}
    run(folder, "train", "TrainingJob", "assistant", {"recipe": recipe, "output": output})
    described: dict[str, Any] = json.loads((folder / "assistant" / "artifact.json").read_text())
    return described


def quantized(folder: Path, data: str) -> list[dict[str, Any]]:
    """Four bits in OpenVINO's form, judged in its engine. Returns the candidates of the report."""
    dataset = {"name": "sft", "uri": data, "format": "messages", "maxLength": 64}
    spec = {
        "model": {"uri": (folder / "assistant").as_uri()},
        "calibration": {"dataset": dataset, "samples": 64},
        "evaluation": {"dataset": dataset},
        "weights": {"groupSize": 32},
        "ladder": ["rtn-int4", "gptq-int4", "weight-only-int8"],
        "gates": {"perplexity": {"maxIncrease": 0.1}},
        "target": {"runtime": "openvino"},
        "output": {"uri": (folder / "assistant-int4").as_uri()},
    }
    run(folder, "quantize", "QuantizationJob", "assistant-int4", spec)
    report = json.loads((folder / "assistant-int4" / "report.json").read_text())
    found: list[dict[str, Any]] = report["candidates"]
    return found


def answered(server: GenerationServer, show: bool) -> tuple[str, float]:
    """A streamed answer, and its tokens per second after the first."""
    text, count, first = "", 0, 0.0
    asked: Any = {"model": "small", "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    for event in server.client.chat.completions.create(**asked, max_tokens=48, stream=True):
        more = event.choices[0].delta.content or ""
        first = first or (time.perf_counter() if more else 0.0)
        count += bool(more)
        text += more
        if show:
            print(more, end="", flush=True)
    return text, count / max(time.perf_counter() - first, 1e-9)


def chain(folder: Path, show: bool = False) -> dict[str, Any]:
    """All of it. Returns what the table shows."""
    data = chats(folder)
    described = tuned(folder, data)
    candidates = quantized(folder, data)
    server = GenerationServer(folder, folder / "assistant-int4", {}).wait()
    try:
        if show:
            print(f"> {QUESTION}")
        text, speed = answered(server, show)
        proved = server.ask("GET", "/v2/models/small").json["properties"]["proved"]
    finally:
        server.stop()
    metrics = described["metrics"]
    before, after = math.exp(metrics["lossBefore"]), math.exp(metrics["loss"])
    light = json.loads((folder / "assistant-int4" / "artifact.json").read_text())["metrics"]
    return {"answer": text, "tokensPerSecond": speed, "proved": proved, "candidates": candidates, "gated": light,
            "perplexity": {"base": before, "fine-tuned": after}}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as where:
        found = chain(Path(where), show=True)
    print(f"\n\n{'perplexity of held-out answers':34}")
    for name, value in found["perplexity"].items():
        print(f"  {name:32}{value:10.2f}")
    gated = found["gated"]
    print(f"perplexity of whole held-out chats\n  {'fine-tuned':32}{gated['floatPerplexity']:10.2f}")
    print(f"  {'four bits':32}{gated['perplexity']:10.2f}\nbytes")
    for row in found["candidates"]:
        print(f"  {row['name']:32}{row['sizeBytes']:10,}")
    print(f"{found['tokensPerSecond']:.0f} tokens/s on this machine; {found['proved']}")


if __name__ == "__main__":
    main()
