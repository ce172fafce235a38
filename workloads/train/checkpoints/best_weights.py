"""Weights to publish: those of the best evaluation, or the last ones. Kept by the loop, asked by run.py.

The best ones lie beside the checkpoints, or in memory without any, so a run that was killed publishes what it would
have published. Ties go to the earlier step.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from workloads import storage, strict_json, tied_tensors
from workloads.train.tasks import Figures

FOLDER, WEIGHTS, ABOUT = "best", "model.safetensors", "best.json"


@dataclass
class Best:
    """Best weights so far.

    `folder`: where they are kept; None for memory. `figures` and `step` are of the best evaluation so far.
    """

    folder: Path | None
    wanted: bool
    first: bool
    step: int = -1
    figures: Figures | None = None
    held: dict[str, torch.Tensor] | None = field(default=None, repr=False)

    def better(self, figures: Figures) -> bool:
        """Tell whether weights with these figures are worth keeping; the same answer on all processes."""
        return self.wanted and (self.figures is None or figures.score > self.figures.score)

    def keep(self, step: int, figures: Figures, weights: Mapping[str, torch.Tensor] | None) -> None:
        """Keep the best weights so far, in the first process; the others note step and figures alone.

        `weights`: None where no copy is needed, since they are still in use.
        """
        self.step, self.figures, self.held = step, figures, None
        if weights is None or not self.first:
            return
        plain = tied_tensors.written(weights)
        if self.folder is None:
            self.held = {name: tensor.clone() for name, tensor in plain.items()}
            return
        try:
            self._write(self.folder, step, plain)
        except (OSError, SafetensorError) as error:
            print(f"warning: the best weights so far are kept in memory alone: {error}", flush=True)
            self.held = {name: tensor.clone() for name, tensor in plain.items()}

    @staticmethod
    def _write(folder: Path, step: int, weights: dict[str, torch.Tensor]) -> None:
        staged, target = folder / f".{FOLDER}", folder / FOLDER
        shutil.rmtree(staged, ignore_errors=True)
        try:
            staged.mkdir(parents=True)
            save_file(weights, staged / WEIGHTS)
            about = {"step": step, "digest": storage.sha256_of(staged / WEIGHTS)}
            (staged / ABOUT).write_text(strict_json.document(about))
            storage.sync_tree(staged)
            shutil.rmtree(target, ignore_errors=True)
            staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def read(self) -> dict[str, torch.Tensor] | None:
        """The kept weights; None when they are gone, damaged, or of another step."""
        if self.held is not None or self.folder is None:
            return self.held
        place = self.folder / FOLDER
        try:
            about = json.loads((place / ABOUT).read_text())
            if about["step"] != self.step or about["digest"] != storage.sha256_of(place / WEIGHTS):
                return None
            return load_file(place / WEIGHTS)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None

    def state(self) -> dict[str, Any] | None:
        """Step and figures of the best evaluation, for a checkpoint's manifest; None before the first one."""
        if self.figures is None:
            return None
        known = self.figures
        return {"step": self.step, "metrics": dict(known.metrics), "words": known.words, "score": known.score}

    def resume(self, state: Mapping[str, Any] | None) -> None:
        """Take up step and figures of the best evaluation from a checkpoint's manifest."""
        if state is not None:
            self.step = int(state["step"])
            self.figures = Figures(dict(state["metrics"]), str(state["words"]), float(state["score"]))
