"""PyTorch: the safetensors weights in the registered architecture, for artifacts without an ONNX file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.models.from_artifact import load_model
from workloads.serve.datatypes import Array
from workloads.serve.engines.engine import OnCpu, Options, Unavailable
from workloads.serve.model import Model

if TYPE_CHECKING:
    import torch


class Torch:
    """A module in evaluation mode."""

    name = "torch"

    def __init__(self, module: "torch.nn.Module", device: str, outputs: Sequence[str]) -> None:
        import torch

        self._torch = torch
        self._module = module.to(device)
        self._device = device
        self._outputs = list(outputs)

    @property
    def details(self) -> Mapping[str, str]:
        """Version and device."""
        return {"version": self._torch.__version__, "device": self._device}

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch."""
        torch = self._torch
        with torch.inference_mode():
            # torch has no read-only tensors: what came straight from a request's bytes is copied.
            tensors = [torch.from_numpy(np.require(array, requirements="W")).to(self._device) for array in inputs]
            return [tensor.cpu().numpy() for tensor in self._listed(self._module(*tensors))]

    def _listed(self, results: Any) -> "list[torch.Tensor]":
        if isinstance(results, Mapping):
            return [results[name] for name in self._outputs]
        return list(results) if isinstance(results, tuple | list) else [results]

    def close(self) -> None:
        """The module goes with its last reference."""
        del self._module


def open_engine(model: Model, options: Options) -> Torch:
    """The artifact's module. The thread count is torch's own, for the whole process."""
    if model.weights is None:
        raise Unavailable("torch needs model.safetensors, and the model has none")
    try:
        import torch
    except ImportError as error:
        raise Unavailable(f"torch is not installed ({error})") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.accelerator and device == "cpu":
        raise OnCpu(f"torch {torch.__version__} sees no GPU here", options.accelerator)
    module, _ = load_model(model.folder, model.digest)
    torch.set_num_threads(options.threads)
    return Torch(module, device, [tensor.name for tensor in model.signature.outputs])
