"""Silence about ONNX Runtime's remarks: its quantizer makes them on the root logger, for nobody who could act."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent() -> Iterator[None]:
    """Silence the library's remarks, which it makes on the root logger."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
