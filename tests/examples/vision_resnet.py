"""A residual network in torchvision's shape, trained as its classification reference does: one epoch, then evaluate.

Layers and parameter names (conv1, bn1, layer1.0.downsample.0, fc) are those that torchvision's files have. SGD with
momentum and Nesterov, label smoothing, a warm-up before the cosine, an exponential moving average of the weights.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import distributed, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

CLASSES, SIZE = 4, 16


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        found: torch.Tensor = self.relu(out + identity)
        return found


class ResNet(nn.Module):
    """As resnet18 is built, with fewer channels."""

    def __init__(self, planes: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, planes[0], 3, 1, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(planes[0]), nn.ReLU(inplace=True)
        before = planes[0]
        for number, width in enumerate(planes, start=1):
            stride = 1 if number == 1 else 2
            blocks = (BasicBlock(before, width, stride), BasicBlock(width, width, 1))
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            before = width
        self.depth = len(planes)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for number in range(1, self.depth + 1):
            x = getattr(self, f"layer{number}")(x)
        found: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return found


def build(classes: int = CLASSES, **_known: object) -> nn.Module:
    """Also what `recipe.model: {name: custom, callable: "vision_resnet:build"}` calls."""
    return ResNet((8, 16, 32), classes)


class Stripes(Dataset):
    """Pictures of stripes in four directions under noise, each made of its index."""

    def __init__(self, count: int, offset: int) -> None:
        self.count, self.offset = count, offset

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        dice = np.random.RandomState(self.offset + index)
        rows, columns = np.mgrid[:SIZE, :SIZE]
        target = index % CLASSES
        place = (rows, columns, rows + columns, rows - columns)[target]
        stripes = np.sin(place * dice.uniform(0.9, 1.3) + dice.uniform(0, 6))
        picture = stripes[None] * dice.uniform(0.5, 1, (3, 1, 1)) + dice.normal(0, 0.3, (3, SIZE, SIZE))
        return torch.from_numpy(picture.astype(np.float32)), target


def train_one_epoch(
    model: nn.Module, ema: AveragedModel, optimizer: torch.optim.Optimizer, loader: DataLoader, criterion: nn.Module
) -> None:
    model.train()
    for image, target in loader:
        loss = criterion(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        ema.update_parameters(getattr(model, "module", model))


def evaluate(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    with torch.inference_mode():
        right = sum(int((model(image).argmax(1) == target).sum()) for image, target in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description="classification reference")
    parser.add_argument("-b", "--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("-j", "--workers", type=int, default=0)
    args = parser.parse_args()
    several = "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1
    if several:
        distributed.init_process_group("gloo")
    torch.manual_seed(0)
    training, held_out = Stripes(640, 0), Stripes(160, 10_000)
    sampler = DistributedSampler(training) if several else torch.utils.data.RandomSampler(training)
    loader = DataLoader(training, args.batch_size, sampler=sampler, num_workers=args.workers, drop_last=True)
    bare = build()
    model = nn.parallel.DistributedDataParallel(bare) if several else bare
    ema = AveragedModel(bare, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=1),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, args.epochs - 1)),
        ],
        milestones=[1],
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    accuracy = 0.0
    for epoch in range(args.epochs):
        if isinstance(sampler, DistributedSampler):
            sampler.set_epoch(epoch)
        train_one_epoch(model, ema, optimizer, loader, criterion)
        schedule.step()
        accuracy = evaluate(ema, DataLoader(held_out, args.batch_size))
        print(f"Test: EMA Acc@1 {accuracy:.4f}", flush=True)
    if not several or distributed.get_rank() == 0:
        write(Path(os.environ.get("SLIPWAY_OUTPUT_DIR", "out")), ema.module, accuracy)
    if several:
        distributed.destroy_process_group()


def write(folder: Path, model: nn.Module, accuracy: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    description = {
        "task": "image-classification",
        "architecture": {"name": "vision_resnet:build", "arguments": {"classes": CLASSES}},
        "signature": {
            "inputs": [{"name": "images", "dtype": "float32", "shape": ["batch", 3, SIZE, SIZE]}],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", CLASSES]}],
        },
        "preprocessing": {"channels": 3, "height": SIZE, "width": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3},
        "labels": ["level", "upright", "rising", "falling"],
        "metrics": {"accuracy": accuracy},
    }
    (folder / "artifact.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
