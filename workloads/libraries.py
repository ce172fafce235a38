"""Libraries of an extra, which not every image has: imported when something asks for them, missed in words."""

import importlib
from typing import Any

from workloads.errors import BadInput

TEXT = "pip install 'slipway[text]', or use an image that has it"


def optional(module: str, wanted: str, remedy: str) -> Any:
    """The module. BadInput with who wanted what ("this job asks for DeepSpeed") and the remedy where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BadInput(f"{wanted}, which is not installed here: {remedy} ({error})") from error
