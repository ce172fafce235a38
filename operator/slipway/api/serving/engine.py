"""Engine of an InferenceService: what computes the predictions, on what, and where built engines are kept."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule
from slipway.api.common.types import Uri


class EngineName(StrEnum):
    """Engine that computes the predictions."""

    AUTO = "auto"
    LITERT = "litert"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    TORCH = "torch"
    VLLM = "vllm"


class Provider(StrEnum):
    """Execution provider of ONNX Runtime, by its own name; the image must have it."""

    CPU = "CPUExecutionProvider"
    CUDA = "CUDAExecutionProvider"
    TENSORRT = "TensorrtExecutionProvider"
    TENSORRT_RTX = "NvTensorRTRTXExecutionProvider"
    OPENVINO = "OpenVINOExecutionProvider"
    COREML = "CoreMLExecutionProvider"
    MIGRAPHX = "MIGraphXExecutionProvider"
    ROCM = "ROCMExecutionProvider"
    QNN = "QNNExecutionProvider"
    XNNPACK = "XnnpackExecutionProvider"


class EngineCache(Model):
    """Cache of TensorRT engines: built once by a Job on the GPU that serves, and shared by all replicas."""

    cel: ClassVar[tuple[Rule, ...]] = uris.on_disk(
        uris.CLAIM_URI, "cache.uri is pvc://claim/path: replicas and the build Job mount the claim"
    )
    uri: Uri = Field(description="A folder on a claim that all replicas can mount, for example pvc://engines/cache.")
    build_seconds: Annotated[int, Field(ge=60, le=86400)] = Field(
        3600, description="How long the build may take, waiting for its node included."
    )


def _builds_engines(engine: "Engine") -> bool:
    return not {EngineName.TENSORRT, EngineName.AUTO}.isdisjoint({engine.name, *engine.fallback})


class Engine(Model):
    """The engine and those tried after it."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.fallback) || self.fallback.size() == 0 || (self.name != 'vllm' && !('vllm' in self.fallback))",
            "vllm has no fallback: it serves language models, which the others do not",
            lambda engine: not engine.fallback or EngineName.VLLM not in {engine.name, *engine.fallback},
        ),
        Rule(
            "!has(self.cache) || self.name in ['auto', 'tensorrt']"
            " || (has(self.fallback) && self.fallback.exists(name, name in ['auto', 'tensorrt']))",
            "cache has no effect without the engine tensorrt or auto: set engine.name, or remove cache",
            lambda engine: engine.cache is None or _builds_engines(engine),
        ),
        Rule(
            "!has(self.maxAxisLength) || self.name in ['auto', 'tensorrt']"
            " || (has(self.fallback) && self.fallback.exists(name, name in ['auto', 'tensorrt']))",
            "maxAxisLength is TensorRT's: set engine.name to tensorrt or auto, or remove maxAxisLength",
            lambda engine: engine.max_axis_length is None or _builds_engines(engine),
        ),
        Rule(
            "!has(self.provider) || self.name == 'onnxruntime'"
            " || (has(self.fallback) && self.fallback.exists(name, name == 'onnxruntime'))",
            "provider is ONNX Runtime's: set engine.name to onnxruntime, or remove provider",
            lambda engine: engine.provider is None or EngineName.ONNXRUNTIME in {engine.name, *engine.fallback},
        ),
    )
    name: EngineName = Field(
        EngineName.AUTO,
        description="auto takes the fastest that can load the model here. Language models are served by openvino, and "
        "by vllm where the image has it.",
    )
    fallback: Annotated[list[EngineName], Field(max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"})] = (
        Field(default_factory=list, description="Tried in this order when the engine cannot load the model.")
    )
    provider: Provider | None = Field(
        None,
        description="What ONNX Runtime computes on, with the CPU for what that cannot; CUDA, if there, when unset. One"
        " that the image or the node lacks is refused in words.",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="The CPU limit when unset.")
    instances: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Engines in each replica that compute at the same time; they share the threads."
    )
    cache: EngineCache | None = Field(
        None, description="Have TensorRT's engines built by a Job; each replica builds its own when unset."
    )
    max_axis_length: Annotated[int, Field(ge=1, le=1048576)] | None = Field(
        None,
        description="Longest that an axis beside the batch may be in a TensorRT engine where the model leaves it free,"
        " such as tokens; 512, or the artifact's own limit of tokens if that is more, when unset.",
    )

    @property
    def only_tensorrt(self) -> bool:
        """Tell whether nothing else can serve in TensorRT's place."""
        return {self.name, *self.fallback} == {EngineName.TENSORRT}
