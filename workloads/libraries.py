"""Libraries of an extra, which not every image has: imported when something asks for them, missed in words."""

import importlib
import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from workloads.errors import BadInput


def extra(name: str, instead: str = "an image that has it") -> str:
    """Advice for a missing extra of pyproject.toml. Never a name of PyPI's: `slipway` there is not ours."""
    return f"pip install '.[{name}]' in a checkout of Slipway, or use {instead}"


TEXT = extra("text")


def optional(module: str, wanted: str, remedy: str) -> Any:
    """The module. BadInput with who wanted what ("this job asks for DeepSpeed") and the remedy where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BadInput(f"{wanted}, which is not installed here: {remedy} ({error})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence of libraries that export: their steps, remarks on torchvision, deprecations inside torch.

    Nobody here can act on them.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def transformers(wanted: str) -> Any:
    """Hugging Face's transformers, without torchvision.

    It imports torchvision wherever that is installed, though no text needs it, and PyPI's wheel of it cannot be
    imported beside a torch for CPUs alone ("operator torchvision::nms does not exist"): all of transformers is then
    unusable. Its question whether torchvision is there is asked, and kept by it, while there is none.
    """
    known = sys.modules.get("torchvision")
    if known is None and "transformers" not in sys.modules and importlib.util.find_spec("torchvision") is not None:
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        try:
            optional("transformers.utils.import_utils", wanted, TEXT).is_torchvision_available()
        finally:
            del sys.modules["torchvision"]
    return optional("transformers", wanted, TEXT)
