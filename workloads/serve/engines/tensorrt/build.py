"""Build of a serialized engine from an ONNX file.

Needs no GPU with tensorrt_rtx; called by the server and by the build Job. Precision is what the ONNX file says
(float16, bfloat16, or Q/DQ for int8): the network is strongly typed.
"""

from pathlib import Path
from typing import Any

from workloads.serve.engines.engine import Unavailable
from workloads.serve.engines.tensorrt.key import EngineKey
from workloads.serve.engines.tensorrt.library import logger

WORKSPACE = 1 << 30  # bytes; a limit for scratch memory and not a reservation
PORTABLE = "portable"


def architecture_for(trt: Any, architecture: str) -> str:
    """GPU architecture that an engine of this library is bound to; PORTABLE where tensorrt_rtx has no name for it."""
    named = getattr(trt, "ComputeCapability", None)
    if named is None:
        if architecture == PORTABLE:
            raise Unavailable("this TensorRT builds engines only on the GPU that will run them, and there is none here")
        return architecture
    return architecture if hasattr(named, architecture.upper()) else PORTABLE


def build(trt: Any, onnx: Path, key: EngineKey) -> bytes:
    """The plan. Unavailable with TensorRT's own words when it cannot parse or build the model."""
    log = logger(trt)
    builder = trt.Builder(log)
    if builder is None:
        raise Unavailable(f"TensorRT made no builder: {_last(log)}")
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        errors = [parser.get_error(place).desc() for place in range(parser.num_errors)]
        raise Unavailable(f"TensorRT cannot read the model: {'; '.join(errors[:3])}")
    config = _config(trt, builder, key)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Unavailable(f"TensorRT cannot build the engine: {_last(log)}")
    return bytes(plan)


def _config(trt: Any, builder: Any, key: EngineKey) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    for flag in key.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    profile = builder.create_optimization_profile()
    for shapes in key.profile:
        try:
            profile.set_shape(shapes.name, shapes.least, shapes.best, shapes.most)
        except ValueError as error:
            raise Unavailable(f"TensorRT refuses the shapes of input {shapes.name!r}: {error}") from error
    if config.add_optimization_profile(profile) < 0:
        raise Unavailable("TensorRT refuses the shapes of the inputs")
    if hasattr(trt, "ComputeCapability") and key.architecture != PORTABLE:
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(getattr(trt.ComputeCapability, key.architecture.upper()), 0):
            raise Unavailable(f"TensorRT builds no engine for {key.architecture}")
    return config


def _last(log: Any) -> str:
    return log.lines[-1] if log.lines else "it gave no reason"
