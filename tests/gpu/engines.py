"""TensorRT beside ONNX Runtime and eager PyTorch on the same weights: fp32, fp16, int8 and fp8 by Q/DQ, and 2:4.

Outputs are compared with PyTorch's in float32, as a share of the largest. On a CPU TensorRT-RTX builds each engine, and
none is run.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.step import Row, milliseconds

# Variant -> most that an output may be away, as a share of the largest.
VARIANTS = {"fp32": 0.01, "fp16": 0.02, "int8": 0.15, "fp8": 0.3, "2:4": 0.01}
Weights = list[np.ndarray[Any, Any]]


def weights(sizes: tuple[int, ...], sparse: bool) -> Weights:
    """Weights [inputs, outputs] of each layer; `sparse`: of each four along the inputs the two smallest are zero."""
    random, made = np.random.default_rng(7), []
    for before, after in pairwise(sizes):
        weight = (random.standard_normal((before, after)) / np.sqrt(before)).astype(np.float32)
        if sparse:
            groups = weight.reshape(before // 4, 4, after)
            smallest = np.argsort(np.abs(groups), axis=1)[:, :2]
            np.put_along_axis(groups, smallest, 0, axis=1)
        made.append(weight)
    return made


class Graph:
    """ONNX graph of products with ReLU between; `quantized`: 8-bit type of both sides of a product, and its largest."""

    def __init__(self, variant: str) -> None:
        import ml_dtypes

        self.dtype = np.dtype(np.float16 if variant == "fp16" else np.float32)
        kinds = {"int8": (np.dtype(np.int8), 127.0), "fp8": (np.dtype(ml_dtypes.float8_e4m3fn), 448.0)}
        self.quantized = kinds.get(variant)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, op: str, inputs: list[str], output: str) -> str:
        """Add a node; the name of what it makes."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output]))
        return output

    def constant(self, array: Any, name: str) -> str:
        """Add a constant; its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def product(self, value: str, weight: np.ndarray[Any, Any], x: np.ndarray[Any, Any], place: int, to: str) -> None:
        """A product with a weight, by Q/DQ on both sides where there is a type for that; `x`: what comes in."""
        if self.quantized is None:
            self.node("MatMul", [value, self.constant(weight.astype(self.dtype), f"w{place}")], to)
            return
        dtype, top = self.quantized
        scale = np.float32(np.abs(weight).max() / top)
        stored = weight / scale
        stored = (np.rint(stored) if dtype.kind == "i" else stored).astype(dtype)
        own, zero = self.constant(scale, f"b{place}"), self.constant(np.zeros((), dtype), f"z{place}")
        ours = self.constant(np.float32(np.abs(x).max() / top), f"a{place}")
        weights = self.node("DequantizeLinear", [self.constant(stored, f"q{place}"), own, zero], f"w{place}")
        values = self.node("QuantizeLinear", [value, ours, zero], f"qx{place}")
        self.node("MatMul", [self.node("DequantizeLinear", [values, ours, zero], f"dx{place}"), weights], to)


def write(path: Path, layers: Weights, variant: str, x: np.ndarray[Any, Any]) -> Path:
    """ONNX file of a variant; 8-bit ranges are those that `x` gives."""
    import onnx
    from onnx import helper

    graph, value = Graph(variant), "x"
    for place, weight in enumerate(layers):
        last = place == len(layers) - 1
        graph.product(value, weight, x, place, "y" if last else f"p{place}")
        value, x = f"r{place}", np.maximum(x @ weight, 0)
        if not last:
            graph.node("Relu", [f"p{place}"], value)
    kind = helper.np_dtype_to_tensor_dtype(graph.dtype)
    ports = [
        helper.make_tensor_value_info(name, kind, ["batch", size])
        for name, size in (("x", layers[0].shape[0]), ("y", layers[-1].shape[1]))
    ]
    made = helper.make_graph(graph.nodes, "gpu", ports[:1], ports[1:], graph.constants)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return path


def eager(layers: Weights, x: np.ndarray[Any, Any], device: str) -> tuple[np.ndarray[Any, Any], float]:
    """Outputs by PyTorch in float32, and milliseconds with the copies to and from the device."""
    import torch

    there = [torch.from_numpy(weight).to(device) for weight in layers]

    def work() -> Any:
        value = torch.from_numpy(x).to(device)
        for place, weight in enumerate(there):
            value = value @ weight
            if place < len(there) - 1:
                value = value.relu()
        return value.cpu()

    return work().numpy(), milliseconds(work, device, 20)


def compared(name: str, most: float, y: np.ndarray[Any, Any], run: Callable[[], Any], device: str, small: bool) -> Row:
    """A row for one engine: how far its outputs are from `y`, and how long a batch takes."""
    (given,) = run()
    away = float(np.abs(given.astype(np.float32) - y).max() / np.abs(y).max())
    took = milliseconds(run, "host", 3 if small else 50)  # an engine's run ends when its results are on the host
    return {"what": name, "ok": bool(away <= most), "away": round(away, 5), "ms": took, "device": device}


def onnxruntime(model: Any, x: Any, y: Any, name: str, most: float, device: str, small: bool) -> Row:
    """ONNX Runtime with its CUDA provider, or on the CPU."""
    from workloads.serve.engines import onnx_runtime
    from workloads.serve.engines.engine import Options

    providers = ("CUDAExecutionProvider",) if device == "cuda" else ()
    opened = onnx_runtime.open_engine(model, Options(threads=2, sizes=(len(x),), providers=providers))
    try:
        return compared(name, most, y, lambda: opened.run([x]), device, small)
    finally:
        opened.close()


def tensorrt(model: Any, x: Any, y: Any, name: str, most: float, device: str, small: bool) -> Row:
    """TensorRT: built and run on a GPU; built alone where there is none."""
    from workloads.serve.engines.engine import Options
    from workloads.serve.engines.tensorrt import engine

    options = Options(sizes=(len(x),))
    if device != "cuda":
        plan, key = engine.plan_for(model, options, "portable")
        return {"what": name, "ok": True, "builtBytes": len(plan), "flags": list(key.flags), "why": "no GPU: not run"}
    opened = engine.open_engine(model, options)
    try:
        row = compared(name, most, y, lambda: opened.run([x]), device, small)
        return {**row, "library": opened.details["version"], "architecture": opened.details["architecture"]}
    finally:
        opened.close()


def rows(device: str, small: bool) -> list[Row]:
    """Three rows for each variant: eager, ONNX Runtime, TensorRT. What an engine refuses is said in its words."""
    from workloads.serve.model import load

    sizes, batch = ((16, 32, 8), 4) if small else ((1024, 4096, 4096, 1024), 64)
    x = np.random.default_rng(1).standard_normal((batch, sizes[0]), dtype=np.float32)
    made: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for variant, most in VARIANTS.items():
            layers = weights(sizes, variant == "2:4")
            y, took = eager(layers, x, device)
            made.append({"what": f"{variant} eager", "ok": True, "ms": took, "device": device})
            path = write(Path(folder) / f"{variant.replace(':', '-')}.onnx", layers, variant, x)
            model = load(str(path), variant, "1")
            given = x.astype(model.signature.inputs[0].datatype.dtype)
            for open_one, library in ((onnxruntime, "onnxruntime"), (tensorrt, "tensorrt")):
                name = f"{variant} {library}"
                if not any(importlib.util.find_spec(one) for one in (library, f"{library}_rtx")):
                    made.append({"what": name, "ok": None, "why": f"{library} is not installed"})
                    continue
                try:
                    made.append(open_one(model, given, y, name, most, device, small))
                except Exception as error:
                    made.append({"what": name, "ok": False, "why": f"{type(error).__name__}: {error}"[:300]})
    return made
