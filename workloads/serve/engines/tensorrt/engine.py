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
from workloads.serve.engines.tensorrt.key import EngineKey, profile_for
from workloads.serve.engines.tensorrt.library import identity, library, logger
from workloads.serve.engines.tensorrt.memory import Buffer, Memory, open_memory
from workloads.serve.model import Model
from workloads.serve.signature import Signature, Tensor

LOG = logging.getLogger("slipway.serve.tensorrt")


# TensorRT's names. What is not here, such as FP64, it computes as another type, or not at all.
TYPES = {
    "FLOAT": Datatype.FP32,
    "HALF": Datatype.FP16,
    "BF16": Datatype.BF16,
    "INT8": Datatype.INT8,
    "UINT8": Datatype.UINT8,
    "INT32": Datatype.INT32,
    "INT64": Datatype.INT64,
    "BOOL": Datatype.BOOL,
}


class TensorRt:
    """One execution context. Not for two threads at once.

    `owners`: what TensorRT needs for as long as the engine lives: its runtime, whose logger it calls.
    """

    name = "tensorrt"

    def __init__(
        self,
        engine: Any,
        memory: Memory,
        model: Model,
        key: EngineKey,
        details: Mapping[str, str],
        owners: Sequence[Any] = (),
    ) -> None:
        check_tensors(engine, model.signature)
        self._engine = engine
        self._owners = list(owners)
        self._context = engine.create_execution_context()
        if self._context is None:
            raise Unavailable("TensorRT made no execution context: the device has not enough memory")
        self._memory = memory
        self._signature = model.signature
        self._profile = key.profile
        self._details = details
        self._buffers: dict[str, Buffer] = {}
        self._reserve()

    @property
    def details(self) -> Mapping[str, str]:
        """Library, GPU, key of the engine."""
        return self._details

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch: in, compute, out, all in order on one stream; then one wait."""
        for tensor, array in zip(self._signature.inputs, inputs, strict=True):
            if not self._context.set_input_shape(tensor.name, array.shape):
                raise ValueError(self._outside(tensor, array.shape))
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

    def _outside(self, tensor: Tensor, shape: tuple[int, ...]) -> str:
        wanted = next(one for one in self._profile if one.name == tensor.name)
        return (
            f"input {tensor.name!r}: {list(shape)} is outside of the engine's profile, {list(wanted.least)} to "
            f"{list(wanted.most)}: send less, or set batching.maxBatchSize (rows) or engine.maxAxisLength (other axes)"
        )

    def _reserve(self) -> None:
        """All memory for the largest batch, so that there is no later lack of it."""
        for tensor, shapes in zip(self._signature.inputs, self._profile, strict=True):
            if not self._context.set_input_shape(shapes.name, shapes.most):
                raise Unavailable(f"TensorRT's engine does not take {list(shapes.most)} for input {shapes.name!r}")
            self._buffer(tensor.name, _bytes(tensor, shapes.most))
        for tensor in self._signature.outputs:
            self._buffer(tensor.name, _bytes(tensor, tuple(self._context.get_tensor_shape(tensor.name))))

    def _buffer(self, name: str, size: int) -> Buffer:
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer.host) < size:
            buffer = self._buffers[name] = self._memory.buffer(max(size, 1))
            if not self._context.set_tensor_address(name, buffer.device):
                raise RuntimeError(f"TensorRT does not take the memory for {name!r}")
        return buffer

    def close(self) -> None:
        """Context before engine, engine before its runtime, memory last."""
        del self._context, self._engine
        self._owners.clear()
        self._memory.close()


def check_tensors(engine: Any, signature: Signature) -> None:
    """Unavailable where the engine's tensors are not the model's: copied bytes would mean something else there."""
    there = {engine.get_tensor_name(place) for place in range(engine.num_io_tensors)}
    named = [tensor.name for tensor in (*signature.inputs, *signature.outputs)]
    if there != set(named):
        odd = ", ".join(sorted(there.symmetric_difference(named)))
        raise Unavailable(f"TensorRT's engine has not the tensors of the model: {odd}")
    for tensor in (*signature.inputs, *signature.outputs):
        kind = engine.get_tensor_dtype(tensor.name).name
        if TYPES.get(kind) is not tensor.datatype:
            raise Unavailable(
                f"{tensor.name!r} is {tensor.datatype.name}, and TensorRT's engine takes {kind} there: export the "
                "model with a type that TensorRT has (FP32, FP16, BF16, INT8, UINT8, INT32, INT64, BOOL)"
            )
        if engine.get_tensor_location(tensor.name).name != "DEVICE":
            raise Unavailable(
                f"{tensor.name!r} gives a shape, which TensorRT reads on the host: it cannot serve it here"
            )


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
    profile = profile_for(model.signature, max(options.sizes), options.longest)
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
    memory = open_memory()
    try:
        return TensorRt(engine, memory, model, key, details, (runtime, log))
    except Exception as error:
        memory.close()
        if isinstance(error, Unavailable):
            raise
        raise Unavailable(f"TensorRT's engine does not start on {device.name}: {error}") from error
