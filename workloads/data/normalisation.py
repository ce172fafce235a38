"""8-bit images to the model's float input, on the training device: the tensor twin of preprocess.normalise."""

import torch

from slipway.api.common.artifact import Preprocessing


class Normalise:
    """(value * scale - mean) / std as one multiplication and one addition."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        std = torch.tensor(preprocessing.std, dtype=torch.float64)
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
        shape = (1, -1, 1, 1)
        self._factor = (preprocessing.scale / std).float().reshape(shape).to(device)
        self._offset = (-mean / std).float().reshape(shape).to(device)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, c, h, w] to float32 of the same shape."""
        return pixels.float().mul_(self._factor).add_(self._offset)
