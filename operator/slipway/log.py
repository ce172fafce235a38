"""Logging of the process: one JSON object per line for machines, plain text on a terminal. Called by main.py."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

# kopf tells of each handler and each watch; the operator tells of what it decides.
QUIET = ("kopf", "kopf.objects", "aiohttp.access")


def set_up(level: str) -> None:
    """Log to stderr at this level."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    else:
        handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    logging.basicConfig(level=level, handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
