"""A training script as anybody writes it: DistributedDataParallel, safetensors, a short artifact.json.

test_own_code.py hands its text to `python -c` in the pods of a TrainingJob.
"""

import gzip
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import distributed, nn

CHANNELS, CLASSES, WIDTH, EPOCHS = 1, 10, 32, 30


class Net(nn.Module):
    """Layer for layer the built-in cnn, so that artifact.json can name it."""

    def __init__(self) -> None:
        super().__init__()
        from workloads.models.cnn import Cnn

        self.net = Cnn(channels=CHANNELS, height=8, width=8, classes=CLASSES, features=WIDTH)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.net(images)
        return logits


def main() -> None:
    """Train on this process' share of the digits; process 0 writes the model."""
    distributed.init_process_group("gloo")
    rank, size = distributed.get_rank(), distributed.get_world_size()
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    rows = np.loadtxt(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",")[rank::size]
    images = torch.tensor(rows[:, :-1] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8) * 2 - 1
    labels = torch.tensor(rows[:, -1], dtype=torch.int64)
    model = nn.parallel.DistributedDataParallel(Net())
    rate = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(EPOCHS):
        order = torch.randperm(800, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(32):
            rate.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            rate.step()
    if rank == 0:
        right = (model.module(images).argmax(1) == labels).float().mean().item()
        write(Path(os.environ["SLIPWAY_OUTPUT_DIR"]), model.module.net, right)
    distributed.destroy_process_group()


def write(folder: Path, net: nn.Module, accuracy: float) -> None:
    """Weights, and what they are."""
    save_file(net.state_dict(), folder / "model.safetensors")
    sizes = {"channels": CHANNELS, "height": 8, "width": 8, "classes": CLASSES, "features": WIDTH}
    description = {
        "task": "image-classification",
        "architecture": {"name": "cnn", "arguments": sizes},
        "signature": {
            "inputs": [{"name": "input", "dtype": "float32", "shape": ["batch", CHANNELS, 8, 8]}],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", CLASSES]}],
        },
        "preprocessing": {"channels": 1, "height": 8, "width": 8, "mean": [0.5], "std": [0.5]},
        "labels": [str(digit) for digit in range(CLASSES)],
        "metrics": {"accuracy": accuracy},
    }
    (folder / "artifact.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
