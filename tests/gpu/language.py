"""vLLM, where it is installed: a small Llama of random weights, made here, answers greedily and alike twice."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path

from tests.gpu.step import Row, Skip


def rows(device: str, small: bool) -> list[Row]:
    """Tokens per second of a batch. Skip without vLLM."""
    if importlib.util.find_spec("vllm") is None:
        raise Skip("vLLM is not installed")
    if device != "cuda":
        raise Skip("vLLM's wheel is for GPUs")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from vllm import LLM, SamplingParams

    config = LlamaConfig(
        vocab_size=1024, hidden_size=512, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=8
    )
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(Path(folder))
        engine = LLM(
            folder, skip_tokenizer_init=True, max_model_len=256, gpu_memory_utilization=0.3, enforce_eager=small
        )
        asked = SamplingParams(temperature=0, max_tokens=64, detokenize=False, ignore_eos=True)
        prompts = [{"prompt_token_ids": [1, 2 + place, 3]} for place in range(64)]
        first = engine.generate(prompts, asked)
        started = time.perf_counter()
        again = engine.generate(prompts, asked)
        took = time.perf_counter() - started
    same = [list(one.outputs[0].token_ids) for one in first] == [list(one.outputs[0].token_ids) for one in again]
    return [{"what": "64 prompts", "ok": same, "tokensPerSecond": round(64 * 64 / took, 1)}]
