"""Progress of a training for people: a bar on a terminal, lines in a log, speed and time left."""

import time

from workloads.pod.progress import INTERVAL, Snapshot


class Clock:
    """Speed and time left, from the steps of this process's life alone (a resumed run does not count what ran
    before).
    """

    def __init__(self, step: int, now: float) -> None:
        self._first_step, self._start = step, now

    def estimate(self, step: int, total: int, batch: int, now: float) -> tuple[float, int | None]:
        """Samples per second and seconds left; None while unknown."""
        steps, seconds = step - self._first_step, now - self._start
        if steps <= 0 or seconds <= 0:
            return 0.0, None
        return steps * batch / seconds, round((total - step) * seconds / steps)


class Lines:
    """Progress for people in a log: a compact line every few seconds."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval, self._last = interval, time.monotonic()

    def step(self, snapshot: Snapshot, epochs: int) -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            m = snapshot.metrics
            print(
                f"step {snapshot.step}/{snapshot.total_steps} ({snapshot.percent} %) "
                f"epoch {m['epoch']:.0f}/{epochs} loss {m['loss']:.4f} "
                f"{m['samples_per_second']:.0f} samples/s, {snapshot.remaining_seconds} s left",
                flush=True,
            )

    def resumed(self, step: int) -> None:
        """Do nothing: the next line says it."""

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, flush=True)

    def close(self) -> None:
        """Do nothing: nothing is open."""


class Bar:
    """Progress for people on a terminal."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit="step", dynamic_ncols=True)

    def resumed(self, step: int) -> None:
        """Begin the bar at this step: what another run has done is no speed of this one."""
        self._bar.initial = self._bar.n = step

    def step(self, snapshot: Snapshot, epochs: int) -> None:
        """Move the bar."""
        self._bar.set_postfix_str(
            f"epoch {snapshot.metrics['epoch']:.0f}/{epochs} loss {snapshot.metrics['loss']:.4f}", refresh=False
        )
        self._bar.update(snapshot.step - self._bar.n)

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
