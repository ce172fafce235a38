"""Early stopping: a count of evaluations that were no better. Kept in checkpoints: a restart forgets none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.training.learning.optimizer import EarlyStopping


@dataclass
class Patience:
    """Patience with a run. Without a choice it is endless. `waited`: evaluations since the best one."""

    choice: EarlyStopping | None = None
    best: float | None = None
    waited: int = 0
    step: int = -1

    @property
    def over(self) -> bool:
        """Tell whether the run shall end."""
        return self.choice is not None and self.waited >= self.choice.patience

    def judge(self, step: int, score: float) -> None:
        """Count an evaluation; the same step, evaluated twice, counts once."""
        if self.choice is None or step <= self.step:
            return
        self.step = step
        if self.best is None or score > self.best + self.choice.min_delta:
            self.best, self.waited = score, 0
        else:
            self.waited += 1

    def state(self) -> dict[str, Any]:
        """State that a checkpoint's manifest keeps."""
        return {"best": self.best, "waited": self.waited, "step": self.step}

    def resume(self, state: Mapping[str, Any] | None) -> None:
        """Take up what a checkpoint's manifest has kept."""
        if state is not None:
            self.best, self.waited, self.step = state["best"], int(state["waited"]), int(state["step"])
