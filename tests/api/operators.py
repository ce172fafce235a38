"""The operator as a process of its own: started, asked, stopped, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.api.zygote import CLOCK_AHEAD, Forked, zygote
from tests.cluster.paths import REPOSITORY
from tests.ports import free_port


class Operator:
    """One process. It is told by its environment alone where to work.

    `fresh`: started as it is deployed, which takes seconds of CPU; others are forked from one that has all imported.
    """

    def __init__(
        self, kubeconfig: Path, namespace: str, log: Path, env: Mapping[str, str] = {}, *, fresh: bool = False
    ) -> None:
        self.log = log
        self._fresh = fresh
        self.process: Forked | subprocess.Popen[bytes]
        self.health = free_port()
        self._env = os.environ | {
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "SLIPWAY_NAMESPACES": namespace,
            "SLIPWAY_HEALTH_PORT": str(self.health),
            "SLIPWAY_TRAINER_IMAGE": "registry.example.com/slipway/trainer:test",
            **env,
        }
        self.start()

    def clock_ahead(self, seconds: float) -> None:
        """The next life's clock; not of a `fresh` one."""
        self._env |= {CLOCK_AHEAD: str(seconds)}

    def start(self) -> None:
        """Start it; it works some moments later."""
        if not self._fresh:
            self.process = zygote().fork(self._env, self.log)
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "slipway"], env=self._env, stderr=log, stdout=log)

    def ready(self, seconds: float = 60) -> None:
        """Wait until it says itself that it works."""
        deadline = time.monotonic() + seconds
        while not self._asks_ready():
            assert self.process.poll() is None, f"the operator ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"the operator is not ready:\n{self.tail()}"
            time.sleep(0.05)

    def kill(self) -> None:
        """As by the OOM killer: nothing is finished, nothing is said."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(90)

    def stop(self) -> int:
        """As by a rolling update; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    def metrics(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def rss_mib(self) -> float:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self.process.pid)

    def _asks_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False
