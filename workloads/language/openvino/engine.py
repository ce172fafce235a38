"""OpenVINO's own answers to token numbers: logits of the graph, and greedy answers of the engine that serves.

Both run with PROPERTIES. By default OpenVINO computes in bfloat16 and rounds the inputs of quantized layers to 8 bits
wherever a processor is faster so: the same artifact then answers differently from machine to machine, up to 0.3 nats.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import Unavailable
from workloads.language.openvino.writer import GENERATE, MODEL_FILE, library
from workloads.libraries import optional

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
BLOCK = 32  # tokens of a block of the cache
BATCHED = 512  # tokens of a step


def genai() -> Any:
    """The package openvino_genai. BadInput where it is missing."""
    return optional("openvino_genai", "OpenVINO's form of a language model is served by openvino_genai", GENERATE)


class Graph:
    """The graph alone, without an engine around: logits of whole texts."""

    def __init__(self, folder: Path) -> None:
        """Unavailable for what OpenVINO cannot compile."""
        found = library()
        try:
            compiled = found.Core().compile_model(str(folder / MODEL_FILE), "CPU", PROPERTIES)
        except RuntimeError as error:
            raise Unavailable(f"{folder}: OpenVINO cannot load the model ({error})") from error
        self._request = compiled.create_infer_request()

    def logits(self, ids: "Array") -> "Array":
        """Logits [1, length, vocabulary] of int64 [1, length]."""
        self._request.reset_state()
        given = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(ids.shape[1], dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        found: Array = self._request.infer(given)["logits"].copy()
        return found


def pipeline(folder: Path, cache: str, blocks: int) -> Any:
    """The engine on this machine's CPU. `cache`: format of keys and values, as f16, u8. Unavailable where it fails."""
    found = genai()
    settings = found.SchedulerConfig()
    settings.num_kv_blocks, settings.max_num_batched_tokens, settings.dynamic_split_fuse = blocks, BATCHED, True
    try:
        return found.ContinuousBatchingPipeline(
            str(folder), settings, "CPU", {**PROPERTIES, "KV_CACHE_PRECISION": cache}, {}
        )
    except RuntimeError as error:
        raise Unavailable(f"{folder}: OpenVINO GenAI cannot load the model ({error})") from error


def answers(
    folder: Path, prompts: Sequence[Sequence[int]], count: int, cache: str = "f16"
) -> list[tuple[list[int], list[float]]]:
    """Greedy answers of `count` tokens by the engine, all prompts at once: tokens and log-probabilities (nats)."""
    found, tensor = genai(), library().Tensor
    longest = max(len(prompt) for prompt in prompts) + count
    running = pipeline(folder, cache, len(prompts) * (longest // BLOCK + 2))
    handles = []
    for number, prompt in enumerate(prompts):
        settings = found.GenerationConfig()
        settings.max_new_tokens, settings.ignore_eos, settings.logprobs = count, True, 1
        # Of a model without an end token the engine makes one of -1, which it refuses.
        settings.eos_token_id, settings.stop_token_ids = 2**40, {2**40}
        handles.append(running.add_request(number, tensor(np.array([list(prompt)], np.int64)), settings))
    said: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
    while running.has_non_finished_requests():
        running.step()
        for (tokens, values), handle in zip(said, handles, strict=True):
            for new in handle.read().values() if handle.can_read() else ():
                tokens.extend(int(one) for one in new.generated_ids)
                values.extend(float(one) for one in new.generated_log_probs)
    return said
