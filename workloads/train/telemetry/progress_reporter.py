"""Reports of progress, for people and for the operator.

The loop tells this module; it tells people (lines or a bar) and the operator (posts).
"""

import sys
import time
from collections.abc import Callable, Mapping

from workloads.pod.progress import Poster, Snapshot
from workloads.train.tasks import Figures
from workloads.train.telemetry.terminal import Bar, Clock, Lines

SHOWN = ("accuracy", "perplexity", "averagePrecision50")
# An epoch's figures in metrics.jsonl, and what they are called in a post.
POSTED = {
    "tokensPerSecond": "tokens_per_second",
    "mfu": "mfu",
    "communicationShare": "communication_share",
    "peakMemoryBytes": "peak_memory_bytes",
}
LOOK = 0.5  # seconds between two looks at the loss, for which the device must be waited for


class ProgressReporter:
    """Reporter of a run's progress, silent on all processes but the first."""

    def __init__(self, *, first: bool, total_steps: int, steps_per_epoch: int, batch: int) -> None:
        self._first, self._total, self._per_epoch, self._batch = first, total_steps, steps_per_epoch, batch
        self._epochs = -(-total_steps // steps_per_epoch)
        self._clock = Clock(0, time.monotonic())
        self._looked = 0.0
        self._figures: dict[str, float] = {}
        self._loss: float | None = None
        self._poster = Poster() if first else None
        self._people: Bar | Lines = Bar(total_steps) if first and sys.stderr.isatty() else Lines()

    def _snapshot(self, step: int) -> Snapshot:
        speed, left = self._clock.estimate(step, self._total, self._batch, time.monotonic())
        epoch = min((step - 1) // self._per_epoch + 1, self._epochs)
        known = {"loss": self._loss, **self._figures, "epoch": float(epoch), "samples_per_second": speed}
        return Snapshot(step, self._total, left, {name: value for name, value in known.items() if value is not None})

    def step(self, step: int, loss: Callable[[], float]) -> None:
        """Report an optimizer step. `loss` is asked for at most twice a second."""
        now = time.monotonic()
        if self._poster is None or now - self._looked < LOOK:
            return
        self._looked = now
        self._loss = loss()
        snapshot = self._snapshot(step)
        self._people.step(snapshot, self._epochs)
        self._poster.update(snapshot)

    def epoch(self, step: int, loss: float | None, figures: Figures, speed: Mapping[str, float]) -> None:
        """Report an evaluation, at an epoch's end or inside."""
        if self._poster is None:
            return
        self._figures |= {name: figures.metrics[name] for name in SHOWN if name in figures.metrics}
        self._figures |= {posted: speed[name] for name, posted in POSTED.items() if name in speed}
        self._loss = self._loss if loss is None else loss
        snapshot = self._snapshot(step)
        trained = "nothing left to train" if loss is None else f"loss {loss:.4f}"
        self._people.say(
            f"epoch {-(-step // self._per_epoch)}/{self._epochs} (step {step}): {trained}, "
            f"{figures.words}, {snapshot.metrics['samples_per_second']:.0f} samples/s{_shares(speed)}"
        )
        self._poster.update(snapshot)

    def saved(self, failed: int) -> None:
        """Note the number of failed saves of a checkpoint: shown with the figures once there is one."""
        if failed:
            self._figures["checkpoints_failed"] = float(failed)

    def skipped(self, count: int) -> None:
        """Note the number of samples that could not be decoded: shown with the figures once there is one."""
        if count:
            self._figures["samples_skipped"] = float(count)

    def untracked(self, count: int) -> None:
        """Note the number of figures that no tracking server has got: shown with the figures once there is one."""
        if count:
            self._figures["tracking_failed"] = float(count)

    def resumed(self, step: int) -> None:
        """Report that the run goes on where another ended; called before its first step."""
        self._clock = Clock(step, time.monotonic())
        self._people.resumed(step)
        epoch = min(step, self._total - 1) // self._per_epoch + 1
        self.say(f"resumed from step {step} (epoch {epoch})")

    def say(self, text: str) -> None:
        """A line for people, once."""
        if self._first:
            self._people.say(text)

    def finish(self, step: int) -> None:
        """Report success: post 100 percent."""
        self._people.close()
        if self._poster is not None:
            self._poster.close(self._snapshot(step))


def _shares(speed: Mapping[str, float]) -> str:
    """MFU and communication in words, where they are known."""
    words = {"mfu": "MFU", "communicationShare": "communication"}
    return "".join(f", {word} {speed[name]:.1%}" for name, word in words.items() if name in speed)
