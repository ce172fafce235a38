"""How good is the model on held-out data? Run by all processes together, each sample counted once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from workloads.data import Images
from workloads.train.world import World

NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Evaluation:
    """Held-out figures. `low` and `high` bound the accuracy with 95 % confidence (Wilson 1927)."""

    accuracy: float
    loss: float
    count: int
    low: float
    high: float

    def metrics(self) -> dict[str, float]:
        """As artifact.json and the status name them."""
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "samples": self.count,
            "accuracyLow95": self.low,
            "accuracyHigh95": self.high,
        }


def wilson(correct: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` tries; unlike the normal one it stays inside 0 to 1 and is honest near
    the ends.
    """
    share, square = correct / count, NORMAL_95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    reach = NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def evaluate(
    world: World,
    model: nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor],
    held_out: Images,
    batch_size: int,
    between: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Accuracy and cross-entropy (nats, without label smoothing) of all held-out samples.

    Rank r takes samples r, r + w, r + 2w, ...: the shares differ by at most one, nothing is padded, so nothing counts
    twice. `forward` takes uint8 images to float32 logits; it must not be DDP's, whose collectives need equal shares.
    `between` is called before each batch, equally often by every process.
    """
    mine = range(world.rank, len(held_out), world.size)
    correct, loss = 0.0, 0.0
    model.eval()
    with torch.inference_mode():
        for start in range(
            0, -(-len(held_out) // world.size), batch_size
        ):  # the largest share, so that all take equal turns
            between()
            pixels, labels = held_out.batch(mine[start : start + batch_size])
            target = torch.from_numpy(labels).to(world.device)
            logits = forward(torch.from_numpy(pixels).to(world.device))
            correct += float((logits.argmax(1) == target).sum())
            loss += float(nn.functional.cross_entropy(logits.double(), target, reduction="sum"))
    model.train()
    correct, loss, count = world.sum([correct, loss, float(len(mine))])
    low, high = wilson(correct, int(count))
    return Evaluation(accuracy=correct / count, loss=loss / count, count=int(count), low=low, high=high)
