"""A model with a matrix between its first and its last layer, as a user's own code would have it."""

from torch import nn


def mlp(channels: int, height: int, width: int, classes: int) -> nn.Module:
    """Two hidden layers of 32."""
    first = nn.Linear(channels * height * width, 32)
    return nn.Sequential(nn.Flatten(), first, nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, classes))
