"""Generation of texts by a language model: lengths, memory of keys and values, defaults, adapters."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import MapBy, Model, Rule
from slipway.api.common.quantity import Quantity, parse_quantity
from slipway.api.common.types import Digest, ObjectName, Uri
from slipway.api.serving.engine import EngineName


class CachePrecision(StrEnum):
    """Number format of keys and values. auto: the one that was gated with the weights, else f16."""

    AUTO = "auto"
    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    U8 = "u8"
    FP8 = "fp8"


class KvCache(Model):
    """Memory of the keys and values of all answers under way."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            None,
            "kvCache.memory must be at least 1Mi",
            lambda cache: cache.memory is None or parse_quantity(cache.memory) >= 1 << 20,
        ),
    )
    memory: Quantity | None = Field(
        None, description="As much as sequences can use, or as the memory limit leaves, when unset."
    )
    precision: CachePrecision = Field(
        CachePrecision.AUTO,
        description="auto is f16. u8 takes half of it and moves answers by hundredths of a nat: the model's probes "
        "are replayed with it. bf16 and fp8 are vLLM's.",
    )

    @property
    def bytes(self) -> int | None:
        """The memory as a number."""
        return None if self.memory is None else int(parse_quantity(self.memory))


class GenerationDefaults(Model):
    """Values that hold where a request says nothing; OpenAI's own when unset."""

    max_tokens: Annotated[int, Field(ge=1, le=2**24)] | None = Field(
        None, description="Of an answer. When unset 16 of a completion, and of a chat as many as fit."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="1 when unset; 0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="1 when unset.")


class Generation(Model):
    """Limits of a language model's server."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.defaults) || !has(self.defaults.maxTokens) || !has(self.maxModelLength)"
            " || self.defaults.maxTokens < self.maxModelLength",
            "defaults.maxTokens leaves no room for a prompt within maxModelLength: lower it",
            lambda asked: (
                asked.defaults.max_tokens is None
                or asked.max_model_length is None
                or asked.defaults.max_tokens < asked.max_model_length
            ),
        ),
    )
    max_model_length: Annotated[int, Field(ge=16, le=2**24)] | None = Field(
        None, description="Tokens of a prompt and its answer together; the model's own context when unset."
    )
    max_sequences: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="Answers that are made at once.")
    max_batched_tokens: Annotated[int, Field(ge=32, le=1048576)] = Field(
        512, description="Tokens of one step: long prompts are read in pieces between others' tokens."
    )
    max_waiting_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(
        65536, description="Tokens of prompts that may wait; one more is refused with 429 and Retry-After."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        600, description="For a whole answer, waiting included."
    )
    prefix_caching: bool = Field(
        True,
        description="Keep what prompts begin with. false where log-probabilities of prompts are asked for (echo).",
    )
    kv_cache: KvCache = Field(default_factory=KvCache, description="Memory of keys and values.")
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="GPUs of the pod that share the model (vLLM)."
    )
    defaults: GenerationDefaults = Field(
        default_factory=GenerationDefaults, description="Where a request says nothing."
    )


class AdapterFrom(Model):
    """The job whose adapter is served: waited for, and pinned by digest."""

    training_job: ObjectName = Field(description="A TrainingJob of this namespace that publishes an adapter.")


def _if_set(holds: Callable[[Any], bool], one: Any) -> bool:
    return one.uri is None or holds(one)


def _optional(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Rules of a URI that may be unset."""
    return tuple(
        Rule(
            f"!has(self.uri) || ({rule.rule})" if rule.rule else None,
            rule.message,
            None if rule.holds is None else partial(_if_set, rule.holds),
        )
        for rule in rules
    )


class Adapter(Model):
    """A LoRA adapter that is served under a name of its own, beside its base."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.from) != has(self.uri)",
            "adapters[]: set exactly one of from (a job's adapter) and uri (a folder)",
            lambda one: (one.from_ is None) != (one.uri is None),
        ),
        Rule(
            "!has(self.digest) || has(self.uri)",
            "adapters[].digest pins a uri; an adapter taken from a job is pinned by itself",
            lambda one: one.digest is None or one.uri is not None,
        ),
        *_optional(uris.on_disk(uris.CLAIM_URI, "adapters[].uri is pvc://claim/path: replicas mount the claim")),
    )
    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$")] = (
        Field(description="The model that requests name.")
    )
    from_: AdapterFrom | None = Field(None, alias="from", description="A job of this namespace that made it.")
    uri: Uri | None = Field(None, description="The adapter's folder, an artifact of kind lora-adapter.")
    digest: Digest | None = Field(None, description="Refuse to serve anything else.")


Adapters = Annotated[list[Adapter], Field(max_length=32), MapBy("name")]

# Of the predictor: which engine takes what.
GENERATION_RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.generation) || !has(self.engine) || self.engine.name in ['auto', 'openvino', 'vllm']",
        "generation is of the engines openvino and vllm: set engine.name, or remove generation",
        lambda one: (
            one.generation is None or one.engine.name in {EngineName.AUTO, EngineName.OPENVINO, EngineName.VLLM}
        ),
    ),
    Rule(
        "!has(self.adapters) || self.adapters.size() == 0 || (has(self.engine) && self.engine.name == 'vllm')",
        "adapters need engine.name vllm: openvino applies none beside others, serve the merged model instead "
        "(output.merge of the TrainingJob)",
        lambda one: not one.adapters or one.engine.name is EngineName.VLLM,
    ),
    Rule(
        "!has(self.generation) || !has(self.transform)",
        "transform is of tensors, and a language model takes texts: remove it, or generation",
        lambda one: one.generation is None or one.transform is None,
    ),
    Rule(
        "!has(self.generation) || !has(self.generation.kvCache) || !has(self.generation.kvCache.precision) || "
        "!(self.generation.kvCache.precision in ['bf16', 'fp8'])"
        " || (has(self.engine) && self.engine.name == 'vllm')",
        "kvCache.precision bf16 and fp8 are vLLM's: take auto, f16, f32 or u8",
        lambda one: (
            one.generation is None
            or one.engine.name is EngineName.VLLM
            or one.generation.kv_cache.precision not in {CachePrecision.BF16, CachePrecision.FP8}
        ),
    ),
    Rule(
        "!has(self.generation) || !has(self.generation.tensorParallel) || self.generation.tensorParallel == 1 || "
        "(has(self.engine) && self.engine.name == 'vllm')",
        "tensorParallel is vLLM's: set engine.name to vllm",
        lambda one: one.generation is None or one.generation.tensor_parallel == 1 or one.engine.name is EngineName.VLLM,
    ),
)
