"""Where does a step's time go? Traces some steps with torch.profiler, as the recipe asks; for the artifact."""

import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from slipway.api.recipe import Profile


class Tracing:
    """Called around every step by the first process; `trace` is JSON for chrome://tracing or Perfetto, once done."""

    def __init__(self, choice: Profile | None, *, first: bool) -> None:
        self._choice = choice if first else None
        self._profiler: profile | None = None
        self.trace: str | None = None

    def before(self, step: int) -> None:
        """Begin with the first step that is to be seen."""
        if self._choice is None or self.trace is not None or self._profiler is not None:
            return
        if step >= self._choice.first_step:
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
            self._profiler = profile(activities=activities)
            self._profiler.start()
            self._last = step + self._choice.steps - 1

    def after(self, step: int) -> None:
        """End with the last one."""
        if self._profiler is None or step < self._last:
            return
        self._profiler.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            self._profiler.export_chrome_trace(str(path))
            self.trace = path.read_text()
        self._profiler = None
