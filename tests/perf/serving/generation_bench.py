"""What does the generation server cost beside its engine? `python -m tests.perf.serving.generation_bench [--rounds 5]`.

OpenVINO GenAI's loop alone, in a process of its own, and the server with the same engine take turns: tokens per second
at 32 answers, and the time to the first token of one. A Llama of 5 million parameters with random weights: a larger
model would hide the server. The client, which reads the streams, takes its part of the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conformance.generation.server import GenerationServer
from tests.models.language import small
from tests.perf import machine

TOKENS, STREAMS = 64, 32
SIZES = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 8}
# One line in, one line out: the engine's own loop, without a server.
RAW = """
import json, sys, time
import numpy, openvino, openvino_genai as g
from workloads.serve.generation.loading import EXACT
s = g.SchedulerConfig()
s.num_kv_blocks, s.max_num_batched_tokens, s.max_num_seqs = 1024, 512, 64
s.dynamic_split_fuse, s.enable_prefix_caching = True, False
p = g.ContinuousBatchingPipeline(sys.argv[1], s, "CPU",
    {**EXACT, "INFERENCE_NUM_THREADS": int(sys.argv[2]), "KV_CACHE_PRECISION": "f16"}, {})
number = 0
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    handles, first, count, started = [], 0.0, 0, time.perf_counter()
    for prompt in asked["prompts"]:
        c = g.GenerationConfig()
        c.max_new_tokens, c.ignore_eos, c.logprobs = asked["tokens"], True, 1
        number += 1
        handles.append(p.add_request(number, openvino.Tensor(numpy.array([prompt], numpy.int64)), c))
    while p.has_non_finished_requests():
        p.step()
        for handle in handles:
            while handle.can_read():
                count += sum(len(one.generated_ids) for one in handle.read().values())
        first = first or time.perf_counter() - started
    print(json.dumps({"seconds": time.perf_counter() - started, "first": first, "tokens": count}), flush=True)
"""


def model(folder: Path) -> Path:
    """OpenVINO's form of a model with random weights and the small model's tokenizer."""
    import torch

    from workloads.language.openvino.writer import write_openvino
    from workloads.libraries import transformers

    library = transformers("a bench")
    torch.manual_seed(0)
    vocabulary = small.RECIPES["small"].vocabulary
    config = library.LlamaConfig(vocab_size=vocabulary, num_key_value_heads=4, max_position_embeddings=512, **SIZES)
    library.LlamaForCausalLM(config).save_pretrained(folder / "model")
    (folder / "model" / "tokenizer.json").write_bytes((small.folder() / "tokenizer.json").read_bytes())
    write_openvino(folder / "model", folder / "ir")
    return folder / "ir"


def prompts(count: int) -> list[list[int]]:
    """Prompts of 16 to 48 tokens."""
    return [[5 + (number * 31 + place) % 480 for place in range(16 + number % 33)] for number in range(count)]


class Raw:
    """The engine's loop alone."""

    def __init__(self, folder: Path, threads: int) -> None:
        command = [sys.executable, "-c", RAW, str(folder), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout
        assert self._out.readline() == "ready\n"

    def run(self, count: int, tokens: int) -> dict[str, float]:
        self._in.write(json.dumps({"prompts": prompts(count), "tokens": tokens}) + "\n")
        self._in.flush()
        said: dict[str, float] = json.loads(self._out.readline())
        return said


async def stream(port: int, prompt: list[int], tokens: int, started: float) -> tuple[float, int]:
    """Seconds to the first token, and tokens, of one stream."""
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True}
    text = json.dumps({**body, "stream_options": {"include_usage": True}}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
    first, last, usage = 0.0, b"", 0
    while not last.endswith(b"data: [DONE]"):
        last = (await reader.readline()).strip()
        if last.startswith(b"data: {"):
            first = first or time.perf_counter() - started
            if b'"usage"' in last:
                usage = json.loads(last[6:])["usage"]["completion_tokens"]
    writer.close()
    return first, usage


async def served(port: int, count: int, tokens: int) -> dict[str, float]:
    """The same by the server."""
    started = time.perf_counter()
    ends = await asyncio.gather(*(stream(port, prompt, tokens, started) for prompt in prompts(count)))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "first": max(end[0] for end in ends), "tokens": sum(end[1] for end in ends)}


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Medians of rounds in which both take turns."""
    found: dict[str, list[dict[str, float]]] = {"raw": [], "served": [], "raw one": [], "served one": []}
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        ir = model(folder)
        server = GenerationServer(folder, ir, {"prefixCaching": False, "maxSequences": 64}, threads=threads)
        server.wait()
        raw = Raw(ir, threads)
        try:
            for number in range(rounds + 1):  # the first warms up
                turn = {
                    "raw": raw.run(STREAMS, TOKENS),
                    "served": asyncio.run(served(server.port, STREAMS, TOKENS)),
                    "raw one": raw.run(1, 8),
                    "served one": asyncio.run(served(server.port, 1, 8)),
                }
                for name, figures in turn.items() if number else ():
                    found[name].append(figures)
        finally:
            server.stop()
            raw.process.kill()
    speed = {name: [one["tokens"] / one["seconds"] for one in found[name]] for name in ("raw", "served")}
    added = [
        1000 * (ours["first"] - alone["first"])
        for alone, ours in zip(found["raw one"], found["served one"], strict=True)
    ]
    return {
        "load": machine.load(),
        "tokens": TOKENS,
        "streams": STREAMS,
        "threads": threads,
        "rounds": rounds,
        "tokensPerSecond": {name: statistics.median(values) for name, values in speed.items()},
        "ratio": statistics.median(ours / alone for alone, ours in zip(speed["raw"], speed["served"], strict=True)),
        "addedFirstTokenMilliseconds": statistics.median(added),
        "runs": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    machine.write({**machine.describe(), "generation": measure(asked.rounds, asked.threads)}, asked.out)


if __name__ == "__main__":
    main()
