"""TensorRT library that is installed, and its log. Everything of the library itself goes through here."""

import importlib
import logging
from typing import Any

from workloads.serve.engines.engine import Unavailable

LOG = logging.getLogger("slipway.serve.tensorrt")
NAMES = ("tensorrt", "tensorrt_rtx")
KEPT_LINES = 20


def library() -> Any:
    """The module. Unavailable when neither is there, or its native libraries are missing."""
    reasons = []
    for name in NAMES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(str(error))
    raise Unavailable(f"no TensorRT is installed ({'; '.join(reasons)})")


def identity(trt: Any) -> str:
    """Name and exact version: an engine runs on no other."""
    return f"{trt.__name__}-{trt.__version__}"


def logger(trt: Any) -> Any:
    """TensorRT's logger: warnings and errors go to ours, the last errors are kept in `lines` for people."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Its base class exists only once the library is loaded."""

        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT, from any thread."""
            if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
                self.lines = [*self.lines[1 - KEPT_LINES :], message]
                LOG.warning("%s", message)
            else:
                LOG.debug("%s", message)

    return Logger()
