"""Export of a torch module to ONNX, and proof that it is still the same function.

Exported with a dynamic batch, then compared on real data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import Signature
from workloads import libraries
from workloads.errors import BadInput
from workloads.onnx import file

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx
    import torch

    from workloads.onnx.feeds import Samples

OPSET = 18  # what ONNX Runtime, OpenVINO and TensorRT all read
EXAMPLE_BATCH = 2  # one would be taken for a constant
# float32 sums in another order: relative to the largest output. A wrong operator is off by orders of magnitude.
TOLERANCE = 1e-3
COMPARED = 32  # samples
LENGTHS = (1, 3)  # of the first batches, so that a length burnt into the graph shows


@dataclass(frozen=True)
class Comparison:
    """Torch against ONNX on the same samples. `difference` is the largest, as a share of the largest output."""

    samples: int
    difference: float
    answers_equal: float


def export(model: "torch.nn.Module", signature: Signature, opset: int = OPSET) -> "onnx.ModelProto":
    """The module as ONNX with the signature's names, every named axis of any length.

    BadInput when torch cannot.
    """
    import torch

    examples, axes = [], []
    for spec in signature.inputs:
        shape = [EXAMPLE_BATCH if isinstance(axis, str) else axis for axis in spec.shape]
        examples.append(torch.zeros(shape, dtype=getattr(torch, spec.dtype.value)))
        axes.append({index: torch.export.Dim(axis) for index, axis in enumerate(spec.shape) if isinstance(axis, str)})
    try:
        with libraries.quiet():
            program = torch.onnx.export(
                model,
                tuple(examples),
                input_names=[spec.name for spec in signature.inputs],
                output_names=[spec.name for spec in signature.outputs],
                dynamic_shapes=tuple(axes),
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise BadInput(f"torch could not export the model to ONNX: {str(error).strip().splitlines()[0]}") from error
    if program is None:
        raise BadInput("torch could not export the model to ONNX")
    return plain(program.model_proto, signature)


def plain(model: "onnx.ModelProto", signature: Signature) -> "onnx.ModelProto":
    """Remove the exporter's notes, such as paths of the machine that exported, and check the shapes that were promised.

    In place. BadInput for inputs or outputs that differ from the signature.
    """
    for item in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ):
        del item.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for found, promised in zip(
        [*file.inputs_of(model), *file.outputs_of(model)],
        [*signature.inputs, *signature.outputs],
        strict=True,
    ):
        shape = tuple(None if isinstance(axis, str) else axis for axis in promised.shape)
        if (found.name, found.dtype, found.shape) != (promised.name, promised.dtype.value, shape):
            raise BadInput(
                f"the exported model has {found.name} {found.dtype} {found.shape}, "
                f"its artifact says {promised.name} {promised.dtype.value} {shape}"
            )
    return model


def compare(model: "torch.nn.Module", session: Any, batches: Iterable["dict[str, npt.NDArray[Any]]"]) -> Comparison:
    """Run both on real samples; the batches' sizes should differ, so that a batch burnt into the graph shows.

    BadInput when they are not the same function.
    """
    import torch

    samples, equal, worst = 0, 0, 0.0
    model.eval()
    for feeds in batches:
        with torch.inference_mode():
            expected = model(*(torch.from_numpy(value) for value in feeds.values())).numpy()
        found = session.run(None, feeds)[0]
        if found.shape != expected.shape:
            raise BadInput(f"the exported model gives {found.shape} where torch gives {expected.shape}")
        worst = max(worst, float(np.abs(found - expected).max() / max(1e-12, float(np.abs(expected).max()))))
        equal += int((found.argmax(-1) == expected.argmax(-1)).sum())
        samples += len(expected)
    if not worst <= TOLERANCE:
        raise BadInput(
            "the exported model is not the same function: "
            f"outputs differ by {worst:.2g} of the largest, {TOLERANCE:g} is rounding"
        )
    return Comparison(samples, worst, equal / max(1, samples))


def compare_on(model: "torch.nn.Module", session: Any, samples: "Samples") -> Comparison:
    """`compare` on the first samples, in batches of different lengths."""
    count = min(COMPARED, len(samples))
    cuts = [0, *(cut for cut in LENGTHS if cut < count), count]
    lists = [list(range(begin, end)) for begin, end in pairwise(cuts)]
    return compare(model, session, (samples.read(chosen).feeds for chosen in lists))
