"""Small colour pictures by DeepSpeed, in the shape of its CIFAR-10 example: an engine that forwards, backs and steps.

Arguments as its launcher passes them, a configuration as a dict, ZeRO by `--stage`. Pictures are drawn, not downloaded.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

os.environ.setdefault("LOCAL_RANK", "0")
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
import deepspeed
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

CLASSES = ("disc", "square", "cross", "bars")


class Net(nn.Module):
    """Two convolutions with pooling, three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.pool = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2, 2)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(functional.relu(self.conv1(x)))
        x = self.pool(functional.relu(self.conv2(x)))
        x = functional.relu(self.fc2(functional.relu(self.fc1(x.view(-1, 16 * 5 * 5)))))
        found: torch.Tensor = self.fc3(x)
        return found


def build(**_known: object) -> nn.Module:
    """Of pictures of 32 x 32."""
    return Net()


def drawn(count: int, seed: int) -> TensorDataset:
    dice = np.random.RandomState(seed)
    pictures = dice.normal(0, 0.3, (count, 3, 32, 32)).astype(np.float32)
    labels = np.arange(count) % len(CLASSES)
    rows, columns = np.mgrid[:32, :32]
    for picture, label in zip(pictures, labels, strict=True):
        y, x, colour = *dice.randint(10, 22, 2), dice.uniform(1, 2, (3, 1))
        away = (np.abs(rows - y), np.abs(columns - x))
        shape = (
            np.hypot(*away) < 7, np.maximum(*away) < 7, (np.minimum(*away) < 2) & (np.maximum(*away) < 8),
            (rows % 4 < 2) & (np.maximum(*away) < 8),
        )[label]  # fmt: skip
        picture[:, shape] += colour
    return TensorDataset(torch.from_numpy(pictures), torch.from_numpy(labels))


def ds_config(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "train_batch_size": 32,
        "steps_per_print": 2000,
        "optimizer": {"type": "Adam", "params": {"lr": 0.002, "betas": [0.8, 0.999], "torch_adam": True}},
        "scheduler": {
            "type": "WarmupLR",
            "params": {"warmup_min_lr": 0, "warmup_max_lr": 0.002, "warmup_num_steps": 10},
        },
        "gradient_clipping": 1.0,
        "zero_optimization": {"stage": args.stage},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="CIFAR")
    parser.add_argument("-e", "--epochs", type=int, default=5)
    parser.add_argument("--local_rank", type=int, default=-1)
    parser.add_argument("--stage", type=int, default=1, choices=[0, 1, 2, 3])
    args = parser.parse_args()
    # Found "compatible", it would be compiled now, for a minute; an image without a compiler goes on without it.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531"}.items():
        os.environ.setdefault(name, value)
    deepspeed.init_distributed(dist_backend=None if torch.cuda.is_available() else "gloo")
    torch.manual_seed(0)
    net = Net()
    engine, _optimizer, loader, _scheduler = deepspeed.initialize(
        model=net, model_parameters=net.parameters(), training_data=drawn(640, 0), config=ds_config(args)
    )
    for epoch in range(args.epochs):
        running = 0.0
        for images, labels in loader:
            loss = functional.cross_entropy(engine(images.to(engine.device)), labels.to(engine.device))
            engine.backward(loss)
            engine.step()
            running += float(loss.detach())
        if engine.global_rank == 0:
            print(f"[{epoch + 1}] loss: {running / len(loader):.3f}", flush=True)
    engine.eval()
    held_out = drawn(200, 1)
    with torch.no_grad():  # by all of them: of stage 3 each has a part
        found = engine(held_out.tensors[0].to(engine.device)).argmax(1).cpu()
    accuracy = float((found == held_out.tensors[1]).float().mean())
    with deepspeed.zero.GatheredParameters(list(net.parameters()), enabled=args.stage == 3):
        if engine.global_rank == 0:
            print(f"Accuracy of the network on the test images: {100 * accuracy:.0f} %", flush=True)
            write(Path(os.environ.get("SLIPWAY_OUTPUT_DIR", "out")), net, accuracy)
    torch.distributed.destroy_process_group()


def write(folder: Path, model: nn.Module, accuracy: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: one.detach().cpu().contiguous() for name, one in model.state_dict().items()},
        folder / "model.safetensors",
    )
    description = {
        "task": "image-classification",
        "architecture": {"name": "deepspeed_cifar:build"},
        "signature": {
            "inputs": [{"name": "images", "dtype": "float32", "shape": ["batch", 3, 32, 32]}],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", len(CLASSES)]}],
        },
        "preprocessing": {"channels": 3, "height": 32, "width": 32, "mean": [0.5] * 3, "std": [0.25] * 3},
        "labels": list(CLASSES),
        "metrics": {"accuracy": accuracy},
    }
    (folder / "artifact.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
