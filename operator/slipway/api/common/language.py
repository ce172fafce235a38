"""Language model's part of artifact.json, beside what every model has: kind, sizes, and how its weights are kept.

Written by trainer and quantizer; the operator plans memory by it, the server chooses its engine by it. Pure.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.common.base import StatusModel
from slipway.api.common.types import Digest

PROBES_FILE = "probes.json"
CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_FILE = "adapter_model.safetensors"
OPENVINO_FILES = ("openvino_model.xml", "openvino_model.bin")


class ArtifactKind(StrEnum):
    """Layout of an artifact's folder; without a kind it is the layout of all other models.

    causal-lm: Hugging Face's, config.json and what from_pretrained reads. lora-adapter: PEFT's. openvino-lm: OpenVINO's
    IR of a causal-lm, with the same config.json and tokenizer.json beside.
    """

    CAUSAL_LM = "causal-lm"
    LORA_ADAPTER = "lora-adapter"
    OPENVINO_LM = "openvino-lm"


Positive = Annotated[int, Field(ge=1)]


class WeightQuantization(StatusModel):
    """Storage of a quantized model's matrices; `group_size` None is one scale a row."""

    method: Annotated[str, Field(min_length=1, max_length=64)]
    bits: Annotated[int, Field(ge=2, le=8)]
    group_size: Positive | None = None
    symmetric: bool
    excluded: list[str] = Field(default_factory=list)
    bits_per_weight: Annotated[float, Field(gt=0)] | None = None


class LanguageModel(StatusModel):
    """Sizes of a causal language model, by which memory is planned.

    A token's keys and values take 2 x layers x key_value_heads x head_size numbers.
    """

    family: Annotated[str, Field(min_length=1, max_length=64)]
    context_length: Positive
    vocabulary: Positive
    layers: Positive
    hidden_size: Positive
    heads: Positive
    key_value_heads: Positive
    head_size: Positive
    tied: bool
    end_tokens: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    chat: bool = False
    quantization: WeightQuantization | None = None

    def cache_bytes_per_token(self, element_bytes: int) -> int:
        """Bytes of a token's keys and values, elements of so many bytes, without an engine's own scales."""
        return 2 * self.layers * self.key_value_heads * self.head_size * element_bytes


Bytes = Annotated[int, Field(ge=0, le=2**53)]
Size = Annotated[int, Field(ge=0, le=2**31 - 1)]


class LanguageFacts(StatusModel):
    """Facts of a published language model or adapter in its job's status, by which services plan memory, and see
    which adapter fits which base. Sizes of an adapter are 0.
    """

    kind: Annotated[str, Field(max_length=64)] = Field(description="causal-lm, openvino-lm, lora-adapter.")
    weights_bytes: Bytes = Field(0, description="Size of its weights.")
    context_length: Size = Field(0, description="Tokens of a prompt and its answer.")
    vocabulary: Size = Field(0, description="Tokens that it knows.")
    layers: Size = Field(0, description="Its layers.")
    hidden_size: Size = Field(0, description="Width between layers.")
    key_value_heads: Size = Field(0, description="Heads of keys and values.")
    head_size: Size = Field(0, description="Numbers of a head.")
    cache_precision: Annotated[str, Field(max_length=16)] = Field(
        "", description="Number format of keys and values that was gated with the weights."
    )
    base: Digest | None = Field(None, description="Of an adapter: the model that it was trained on.")
    quantized_from: Digest | None = Field(None, description="The model with float weights that it was made from.")


class AdapterOfModel(StatusModel):
    """The LoRA of an artifact of kind lora-adapter; `base` of the artifact says of which model."""

    rank: Positive
    alpha: Annotated[float, Field(gt=0)]
    target_modules: Annotated[list[str], Field(min_length=1)]
