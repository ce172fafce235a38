"""kubectl as a function: a person could type every command that the demo and the end-to-end tests run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml


class KubectlError(Exception):
    """A command failed; the text is kubectl's own."""


class Kubectl:
    """Runs kubectl against one kubeconfig."""

    def __init__(self, kubeconfig: Path, context: str | None = None) -> None:
        self.base = ["kubectl", f"--kubeconfig={kubeconfig}", *([f"--context={context}"] if context else [])]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run one command and return what it printed. Raises KubectlError."""
        done = subprocess.run(
            [*self.base, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get ... -o json`."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        return found

    def exists(self, *arguments: str) -> bool:
        """Whether `kubectl get` finds it."""
        return bool(self("get", *arguments, "--ignore-not-found", "-o", "name").strip())

    def apply(self, documents: list[dict[str, Any]], *options: str) -> str:
        """`kubectl apply` of objects."""
        return self("apply", *options, "-f", "-", stdin=yaml.safe_dump_all(documents))

    def server_version(self) -> tuple[int, int]:
        """The server's (major, minor)."""
        answer = json.loads(self("version", "-o", "json"))["serverVersion"]
        return int(answer["major"]), int(answer["minor"].rstrip("+"))
