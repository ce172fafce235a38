"""Termination message of a finished pod, which the kubelet reads: the operator fills status.artifact from it.

After a failure that nobody has foreseen nothing is written: the kubelet then takes the end of the log, where the
traceback is (FallbackToLogsOnError).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads import strict_json

VARIABLE = "SLIPWAY_TERMINATION_LOG"
DEFAULT = Path("/dev/termination-log")
LIMIT = 4096  # bytes; the kubelet cuts what is longer


def write_message(
    uri: str | None,
    digest: str | None,
    metrics: Mapping[str, float],
    steps: int,
    resumed_from: int | None,
    language: Mapping[str, Any] | None = None,
) -> None:
    """Write the result of a successful run where the kubelet looks for it; nothing outside a pod.

    `language`: what services plan by, of a language model.
    """
    message: dict[str, Any] = {"steps": steps, "resumedFromStep": resumed_from}
    figures = [{"name": name, "value": f"{value:.6g}"} for name, value in metrics.items()]
    if uri is not None:
        message["artifact"] = {"uri": uri, "digest": digest, "metrics": figures}
        if language is not None:
            message["artifact"]["language"] = dict(language)
    text = strict_json.line(message).rstrip()
    while len(text.encode()) > LIMIT and figures:
        figures.pop()
        text = strict_json.line(message).rstrip()
    tell(text)


def tell(words: str) -> None:
    """Write what the kubelet shall tell, instead of the end of the log; nothing outside a pod."""
    path = place()
    if path is not None:
        path.write_text(words)


def place() -> Path | None:
    """Path at which the kubelet looks for the termination message; None outside a pod."""
    path = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else DEFAULT
    if VARIABLE not in os.environ and not (path.is_file() and os.access(path, os.W_OK)):
        return None
    return path
