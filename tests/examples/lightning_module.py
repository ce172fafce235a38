"""A model in the shape of a LightningModule: it says what a step, a validation and its optimizers are.

A trainer runs it. The one here is the few lines of such a library that this model needs, so that nothing else has to be
installed: hooks in their usual order, gradient accumulation, early stopping, a checkpoint that a restart goes on from.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import distributed, nn
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset, random_split


class LitAutoEncoder(nn.Module):
    """Learns to give its input back through two numbers, and which of two moons a point is of."""

    def __init__(self, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.hparams = {"learning_rate": learning_rate}
        self.encoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
        self.decoder = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 4))
        self.head = nn.Linear(2, 2)
        self.logged: dict[str, float] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.encoder(x))
        return found

    def log(self, name: str, value: torch.Tensor) -> None:
        self.logged[name] = float(value.detach())

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        z = self.encoder(x)
        loss = functional.cross_entropy(self.head(z), y) + 0.1 * functional.mse_loss(self.decoder(z), x)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        logits = self(x)
        self.log("val_loss", functional.cross_entropy(logits, y))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)}

    def on_train_epoch_end(self) -> None:
        print(
            f"epoch: train_loss {self.logged['train_loss']:.4f} val_acc {self.logged.get('val_acc', 0):.4f}", flush=True
        )


def build(**_known: object) -> nn.Module:
    """For whoever loads the weights."""
    return LitAutoEncoder()


class Step(nn.Module):
    """A training step as the forward pass, for DistributedDataParallel exchanges what comes out of one."""

    def __init__(self, module: LitAutoEncoder) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.module.training_step(batch, batch_idx)


class Trainer:
    """fit() and nothing else."""

    def __init__(self, max_epochs: int, accumulate_grad_batches: int, patience: int, folder: Path) -> None:
        self.max_epochs, self.accumulate, self.patience = max_epochs, accumulate_grad_batches, patience
        self.kept = folder / "last.ckpt"
        self.several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        if self.several:
            distributed.init_process_group("gloo")
        self.is_global_zero = not self.several or distributed.get_rank() == 0

    def fit(self, module: LitAutoEncoder, training: DataLoader, validation: DataLoader) -> None:
        asked = module.configure_optimizers()
        optimizer, schedule = asked["optimizer"], asked["lr_scheduler"]
        begin, best, waited = 0, float("inf"), 0
        if self.kept.is_file():
            state = torch.load(self.kept, weights_only=True)
            module.load_state_dict(state["state_dict"])
            optimizer.load_state_dict(state["optimizer"])
            begin = state["epoch"]
            print(f"restored all states from the checkpoint of epoch {begin}", flush=True)
        step: nn.Module = Step(module)
        step = nn.parallel.DistributedDataParallel(step) if self.several else step
        for epoch in range(begin, self.max_epochs):
            module.train()
            for index, batch in enumerate(training):
                (step(batch, index) / self.accumulate).backward()
                if (index + 1) % self.accumulate == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            schedule.step()
            self._validate(module, validation)
            module.on_train_epoch_end()
            self._save(module, optimizer, epoch + 1)
            best, waited = (module.logged["val_loss"], 0) if module.logged["val_loss"] < best else (best, waited + 1)
            if waited > self.patience:
                break

    @staticmethod
    def _validate(module: LitAutoEncoder, validation: DataLoader) -> None:
        module.eval()
        with torch.no_grad():
            for index, batch in enumerate(validation):
                module.validation_step(batch, index)

    def _save(self, module: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        if self.is_global_zero:
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            state = {"state_dict": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, f"{self.kept}.new")
            Path(f"{self.kept}.new").rename(self.kept)


def moons() -> TensorDataset:
    """Points of two interleaved half circles, and their squares."""
    dice = torch.Generator().manual_seed(0)
    angle = torch.rand(600, generator=dice) * torch.pi
    label = torch.arange(600) % 2
    points = torch.stack([angle.cos() + label, torch.where(label == 1, 0.3 - angle.sin(), angle.sin())], 1)
    points += 0.1 * torch.randn(points.shape, generator=dice)
    return TensorDataset(torch.cat([points, points.square()], 1), label)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_epochs", type=int, default=12)
    args = parser.parse_args()
    trainer = Trainer(args.max_epochs, 2, 5, Path(os.environ.get("SLIPWAY_CHECKPOINT_DIR", "out")))
    torch.manual_seed(0)
    training, validation = random_split(moons(), [500, 100], torch.Generator().manual_seed(0))
    sampler = DistributedSampler(training) if trainer.several else None
    module = LitAutoEncoder()
    loader = DataLoader(training, batch_size=10, sampler=sampler, shuffle=sampler is None)
    trainer.fit(module, loader, DataLoader(validation, batch_size=100))
    if trainer.is_global_zero:
        write(Path(os.environ.get("SLIPWAY_OUTPUT_DIR", "out")), module)
    if trainer.several:
        distributed.destroy_process_group()


def write(folder: Path, module: LitAutoEncoder) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(module.state_dict(), folder / "model.safetensors")
    description = {
        "task": "raw",
        "architecture": {"name": "lightning_module:build"},
        "signature": {
            "inputs": [{"name": "points", "dtype": "float32", "shape": ["batch", 4]}],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", 2]}],
        },
        "labels": ["outer", "inner"],
        "metrics": {"accuracy": module.logged["val_acc"], "loss": module.logged["val_loss"]},
    }
    (folder / "artifact.json").write_text(json.dumps(description))


if __name__ == "__main__":
    main()
