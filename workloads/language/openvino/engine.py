"""OpenVINO's own answers to token numbers: logits with paged attention, and greedy answers of the engine that serves.

Both run with PROPERTIES. By default OpenVINO computes in bfloat16 and rounds the inputs of quantized layers to 8 bits
wherever a processor is faster so: the same artifact then answers differently from machine to machine, up to 0.3 nats.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.language import OPENVINO_FILES
from workloads.errors import Unavailable
from workloads.language.openvino.writer import GENERATE, library
from workloads.language.probes import Answer, Probe, Probes
from workloads.language.scoring import ANSWER_TOKENS
from workloads.libraries import optional

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    Array = npt.NDArray[Any]

PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
BLOCK = 32  # tokens of a block of the cache
STEP = 32
BATCHED = 512  # tokens of a step


def genai() -> Any:
    """The package openvino_genai. BadInput where it is missing."""
    return optional("openvino_genai", "OpenVINO's form of a language model is served by openvino_genai", GENERATE)


class Paged:
    """The graph with paged attention, as the engine computes it: logits of whole texts, where the engine tells few.

    Texts are computed STEP tokens at a time, so that most of what a token sees was read from the cache in its format.
    """

    def __init__(self, folder: Path, cache: str = "f16") -> None:
        """`cache`: number format of keys and values, as f16, u8. Unavailable for what OpenVINO cannot compile."""
        found = library()
        transform = optional("openvino._offline_transformations", "paged attention is OpenVINO's", GENERATE)
        try:
            model = found.Core().read_model(str(folder / OPENVINO_FILES[0]))
            transform.paged_attention_transformation(model)
            settings = {**PROPERTIES, "KV_CACHE_PRECISION": cache}
            self._compiled = found.Core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise Unavailable(f"{folder}: OpenVINO cannot load the model ({error})") from error
        self._tensor, self._shape = found.Tensor, found.Shape
        self._request = self._compiled.create_infer_request()
        self._blocks = 0

    def _room(self, tokens: int) -> None:
        """Caches of so many tokens at least; what a text before has left in them is never read."""
        if tokens <= self._blocks * BLOCK:
            return
        self._blocks = -(-tokens // BLOCK)
        for one in self._compiled.inputs:
            if "_cache." in one.get_any_name():
                shape = [self._blocks, *(side.get_length() for side in list(one.get_partial_shape())[1:])]
                held = self._tensor(one.get_element_type(), self._shape(shape))
                self._request.set_tensor(one, held)

    def logits(self, ids: "Array") -> "Array":
        """Logits [length, vocabulary] of int64 [length]."""
        self._room(len(ids))
        parts = []
        for start in range(0, len(ids), STEP):
            piece = ids[start : start + STEP]
            until = start + len(piece)
            blocks = np.arange(-(-until // BLOCK), dtype=np.int32)
            given = {
                "input_ids": piece,
                "position_ids": np.arange(start, until, dtype=np.int64),
                "max_context_len": np.array(until, np.int32),
                "past_lens": np.array([start], np.int32),
                "subsequence_begins": np.array([0, len(piece)], np.int32),
                "block_indices_begins": np.array([0, len(blocks)], np.int32),
                "block_indices": blocks,
            }
            for name, value in given.items():
                self._request.set_tensor(name, self._tensor(value))
            self._request.infer()
            parts.append(self._request.get_tensor("logits").data.reshape(len(piece), -1).copy())
        found: Array = np.concatenate(parts)
        return found

    def each(self, documents: "Sequence[torch.Tensor]") -> "Iterator[torch.Tensor]":
        """Logits [length, vocabulary] of each document, int64 [1, length]."""
        import torch

        for ids in documents:
            yield torch.from_numpy(self.logits(ids[0].numpy()))


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


def measured(folder: Path, prompts: Sequence[Sequence[int]], cache: str = "f16") -> Probes:
    """Probes of a folder by the engine; the margins are those of its graph."""
    graph, listed = Paged(folder, cache), []
    for prompt, (tokens, values) in zip(prompts, answers(folder, prompts, ANSWER_TOKENS, cache), strict=True):
        logits = graph.logits(np.array([*prompt, *tokens[:-1]], np.int64))[len(prompt) - 1 :]
        best = np.sort(logits, axis=-1)
        margins = [round(float(row[-1] - row[-2]), 6) for row in best]
        listed.append(Probe(list(prompt), Answer(tokens, [round(one, 6) for one in values], margins)))
    version = str(genai().__version__)
    return Probes({"engine": "openvino", "version": version, "precision": "float32", "keyValueCache": cache}, listed)
