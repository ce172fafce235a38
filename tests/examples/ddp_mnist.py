"""Handwritten digits by DistributedDataParallel, in the shape of PyTorch's MNIST and DDP examples.

Every process reads its share by a DistributedSampler; the first one tests, saves and speaks.
"""

import argparse
import gzip
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


class Net(nn.Module):
    """Two convolutions, dropout, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 1, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.1), nn.Dropout(0.2)
        self.fc1, self.fc2 = nn.Linear(512, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        x = torch.flatten(self.dropout1(functional.max_pool2d(x, 2)), 1)
        return functional.log_softmax(self.fc2(self.dropout2(functional.relu(self.fc1(x)))), dim=1)


def build(**_known: object) -> nn.Module:
    """Of pictures of 8 x 8."""
    return Net()


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Training and test; in scikit-learn's package, so that nothing is downloaded."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    rows = np.loadtxt(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",", dtype=np.float32)
    images, labels = torch.from_numpy(rows[:, :-1] / 8 - 1).reshape(-1, 1, 8, 8), torch.from_numpy(rows[:, -1]).long()
    return TensorDataset(images[:1500], labels[:1500]), TensorDataset(images[1500:], labels[1500:])


def train(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for data, target in loader:
        optimizer.zero_grad()
        functional.nll_loss(model(data), target).backward()
        optimizer.step()


def test(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(data).argmax(1) == target).sum()) for data, target in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description="DDP MNIST")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    args = parser.parse_args()
    # One process without a launcher meets nobody: as if torchrun had started it.
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        os.environ.setdefault(name, value)
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, size = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(1)
    training, held_out = digits()
    sampler = DistributedSampler(training, size, rank, seed=1)
    loader = DataLoader(training, batch_size=args.batch_size // size, sampler=sampler)
    model = DistributedDataParallel(Net())
    optimizer = torch.optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=args.gamma)
    accuracy = 0.0
    for epoch in range(1, args.epochs + 1):
        sampler.set_epoch(epoch)
        train(model, loader, optimizer)
        if rank == 0:
            accuracy = test(model.module, DataLoader(held_out, batch_size=1000))
            print(f"Train Epoch: {epoch} test accuracy: {accuracy:.4f}", flush=True)
        scheduler.step()
    if rank == 0:
        write(Path(os.environ.get("SLIPWAY_OUTPUT_DIR", "out")), model.module, accuracy)
    distributed.destroy_process_group()


def write(folder: Path, model: nn.Module, accuracy: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    description = {
        "task": "image-classification",
        "architecture": {"name": "ddp_mnist:build"},
        "signature": {
            "inputs": [{"name": "images", "dtype": "float32", "shape": ["batch", 1, 8, 8]}],
            "outputs": [{"name": "scores", "dtype": "float32", "shape": ["batch", 10]}],
        },
        "preprocessing": {"channels": 1, "height": 8, "width": 8, "mean": [0.5], "std": [0.5]},
        "labels": [str(digit) for digit in range(10)],
        "metrics": {"accuracy": accuracy},
    }
    (folder / "artifact.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
