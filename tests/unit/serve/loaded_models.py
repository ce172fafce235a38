"""Small ONNX models as exporters write them, loaded and warmed up as the server does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from slipway.api.serving.engine import EngineName
from slipway.api.serving.warmup import WarmUpMode
from workloads.serve.batcher import Limits
from workloads.serve.loading import load_and_warm_up
from workloads.serve.service import Loaded
from workloads.serve.settings import Settings, WarmUpChoice

node = helper.make_node


def saved(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[tuple[str, int, Any]],
    outputs: Sequence[tuple[str, int, Any]],
    constants: dict[str, np.ndarray] | None = None,
) -> str:
    """Unchecked: exporters declare what is not so."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return str(path)


def loaded(model: str, mode: WarmUpMode = WarmUpMode.FULL, most: int = 4, **given: Any) -> Loaded:
    return load_and_warm_up(
        Settings(
            model,
            engine=EngineName.ONNXRUNTIME,
            threads=1,
            batching=Limits(max_batch_size=most),
            warm_up=WarmUpChoice(mode, **given),
        )
    )
