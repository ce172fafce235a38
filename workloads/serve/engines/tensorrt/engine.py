"""TensorRT as an engine: a plan from the cache or built now, one context, one stream, buffers for the largest batch."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.engines.tensorrt import cache, gpu, sparsity
from workloads.serve.engines.tensorrt.build import architecture_for, build
from workloads.serve.engines.tensorrt.key import EngineKey, Range, profile_for
from workloads.serve.engines.tensorrt.library import identity, library, logger
from workloads.serve.engines.tensorrt.memory import Buffer, Memory, open_memory
from workloads.serve.model import Model
from workloads.serve.signature import Tensor

LOG = logging.getLogger("slipway.serve.tensorrt")


class TensorRt:
    """One execution context. Not for two threads at once."""

    name = "tensorrt"

    def __init__(self, engine: Any, memory: Memory, model: Model, key: EngineKey, details: Mapping[str, str]) -> None:
        self._engine = engine
        self._context = engine.create_execution_context()
        if self._context is None:
            raise Unavailable("TensorRT made no execution context: the device has not enough memory")
        self._memory = memory
        self._signature = model.signature
        self._details = details
        self._buffers: dict[str, Buffer] = {}
        self._reserve(key.profile)

    @property
    def details(self) -> Mapping[str, str]:
        """Library, GPU, key of the engine."""
        return self._details

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch: in, compute, out, all in order on one stream; then one wait."""
        for tensor, array in zip(self._signature.inputs, inputs, strict=True):
            if not self._context.set_input_shape(tensor.name, array.shape):
                raise ValueError(f"input {tensor.name!r}: {list(array.shape)} is outside of the engine's profile")
            buffer = self._buffer(tensor.name, array.nbytes)
            buffer.host[: array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._memory.to_device(buffer, array.nbytes)
        shapes = [tuple(self._context.get_tensor_shape(tensor.name)) for tensor in self._signature.outputs]
        sizes = [_bytes(tensor, shape) for tensor, shape in zip(self._signature.outputs, shapes, strict=True)]
        for tensor, size in zip(self._signature.outputs, sizes, strict=True):
            self._buffer(tensor.name, size)
        if not self._context.execute_async_v3(self._memory.stream):
            raise RuntimeError("TensorRT could not start the batch")
        for tensor, size in zip(self._signature.outputs, sizes, strict=True):
            self._memory.to_host(self._buffers[tensor.name], size)
        self._memory.wait()
        return [
            self._buffers[tensor.name].host[:size].view(tensor.datatype.dtype).reshape(shape).copy()
            for tensor, size, shape in zip(self._signature.outputs, sizes, shapes, strict=True)
        ]

    def _reserve(self, profile: Sequence[Range]) -> None:
        """All memory for the largest batch, so that there is no later lack of it."""
        for shapes in profile:
            self._context.set_input_shape(shapes.name, shapes.most)
        for tensor, shapes in zip(self._signature.inputs, profile, strict=True):
            self._buffer(tensor.name, _bytes(tensor, shapes.most))
        for tensor in self._signature.outputs:
            self._buffer(tensor.name, _bytes(tensor, tuple(self._context.get_tensor_shape(tensor.name))))

    def _buffer(self, name: str, size: int) -> Buffer:
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer.host) < size:
            buffer = self._buffers[name] = self._memory.buffer(max(size, 1))
            self._context.set_tensor_address(name, buffer.device)
        return buffer

    def close(self) -> None:
        """Context before engine, memory last."""
        del self._context, self._engine
        self._memory.close()


def _bytes(tensor: Tensor, shape: tuple[int, ...]) -> int:
    if min(shape, default=0) < 0:
        raise Unavailable(f"output {tensor.name!r} has a shape that depends on the data: TensorRT cannot serve it here")
    return int(np.prod(shape, dtype=np.int64)) * tensor.datatype.itemsize


def plan_for(model: Model, options: Options, architecture: str) -> tuple[bytes, EngineKey]:
    """Plan and key of a model's engine: from the cache, or built and then cached.

    Also what `--build-only` does, on the type of GPU that will serve.
    """
    if model.onnx is None:
        raise Unavailable("tensorrt needs model.onnx, and the artifact has none: export it")
    if any(tensor.datatype is Datatype.BYTES for tensor in (*model.signature.inputs, *model.signature.outputs)):
        raise Unavailable("tensorrt has no string tensors")
    trt = library()
    bound = architecture_for(trt, architecture)
    profile = profile_for(model.signature, max(options.sizes))
    key = EngineKey(model.digest, bound, identity(trt), profile, sparsity.flags(trt, model.onnx))
    plan = cache.find(options.cache, key) if options.cache is not None else None
    if plan is not None:
        return plan, key
    if not options.build:
        raise Unavailable(cache.absent(options.cache, key))
    started = time.monotonic()
    plan = build(trt, model.onnx, key)
    LOG.info("built engine %s of %d bytes in %.1f s", key.digest, len(plan), time.monotonic() - started)
    if options.cache is not None:
        cache.keep(options.cache, key, plan, {"seconds": round(time.monotonic() - started, 3)})
    return plan, key


def open_engine(model: Model, options: Options) -> TensorRt:
    """Open an engine. Unavailable without a GPU, without the library, or when the engine does not load on this GPU."""
    if model.onnx is None:
        raise Unavailable("tensorrt needs model.onnx, and the artifact has none: export it")
    device = gpu.present()
    if device is None:
        raise Unavailable("tensorrt needs an NVIDIA GPU and its driver, and there is none here")
    plan, key = plan_for(model, options, device.architecture)
    trt = library()
    log = logger(trt)
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise Unavailable(f"TensorRT cannot load the engine on {device.name}: {(log.lines or ['no reason given'])[-1]}")
    details = {"version": key.library, "device": device.name, "architecture": key.architecture, "engine": key.digest}
    return TensorRt(engine, open_memory(), model, key, details)
