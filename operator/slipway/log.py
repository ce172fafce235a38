"""Logging of the process: one JSON object per line for machines, plain text on a terminal, times in UTC."""

import logging
import platform
import sys
import time

from pythonjsonlogger.json import JsonFormatter

from slipway import __version__

# kopf tells of each handler and each watch; the operator tells of what it decides.
QUIET = ("kopf", "kopf.objects", "aiohttp.access")
TIME = "%Y-%m-%dT%H:%M:%S"


def formatter(*, terminal: bool) -> logging.Formatter:
    """Formatter of a line: for people, or JSON with `time`, `level`, `logger`, `message` and what a line adds."""
    made: logging.Formatter
    if terminal:
        made = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", TIME)
        made.default_msec_format = "%s.%03dZ"
    else:
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        made = JsonFormatter("{asctime}{levelname}{name}{message}", style="{", datefmt=f"{TIME}Z", rename_fields=names)
    # A log that is read beside others' has no use for the zone of a node.
    made.converter = time.gmtime
    return made


def set_up(level: str) -> None:
    """Log to stderr at this level, first of all which version this is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(terminal=sys.stderr.isatty()))
    logging.basicConfig(level=level, handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    versions = {"version": __version__, "python": platform.python_version()}
    logging.getLogger("slipway").info("slipway %s starts", __version__, extra=versions)
