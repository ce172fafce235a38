"""Sparse constants of a graph as dense ones: ONNX Runtime makes them so when it loads, its quantizer overlooks them.

Left as they are, it takes what reads them for nodes without a source, and refuses the whole graph.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.quantize.graph import walk

if TYPE_CHECKING:
    import onnx


def densify(model: "onnx.ModelProto") -> None:
    """Make a graph's sparse constants dense, those of its bodies too; in place, and the same function."""
    for graph in walk.graphs(model.graph):
        for tensor in graph.sparse_initializer:
            graph.initializer.append(_dense(tensor))
        del graph.sparse_initializer[:]


def _dense(tensor: Any) -> Any:
    from onnx import numpy_helper

    values, indices = numpy_helper.to_array(tensor.values), numpy_helper.to_array(tensor.indices)
    whole = np.zeros(tuple(tensor.dims), values.dtype)
    # Places are counted through the whole tensor, or told axis by axis.
    places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), whole.shape)
    whole.reshape(-1)[places] = values
    return numpy_helper.from_array(whole, tensor.values.name)
