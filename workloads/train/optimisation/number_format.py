"""Number format of forward and backward, by the recipe's precision."""

from contextlib import AbstractContextManager

import torch

from slipway.api.training.recipe import Precision
from workloads.errors import BadInput


class NumberFormat:
    """The dtype of forward and backward.

    The weights stay float32; float16 gradients are scaled so that small ones survive.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        if precision is Precision.FP16 and device.type != "cuda":
            raise BadInput("precision fp16 needs a CUDA device: use bf16 or fp32 on CPUs")
        self._device = device.type
        self._dtype = {Precision.FP32: None, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}[precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is Precision.FP16)

    def autocast(self) -> AbstractContextManager[None]:
        """Context of the forward pass, which computes in this dtype; without effect for float32."""
        return torch.autocast(self._device, self._dtype or torch.bfloat16, enabled=self._dtype is not None)
