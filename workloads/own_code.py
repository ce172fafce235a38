"""A user's own model or data set: `module:function`, found on the image's Python path, called with named arguments."""

import importlib
import json
from collections.abc import Mapping
from typing import Any

from workloads.errors import BadInput


def decoded(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of the recipe: JSON where it is JSON (64, 0.5, true), else the words themselves."""
    found: dict[str, Any] = {}
    for name, text in arguments.items():
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:
            found[name] = text
    return found


def call(name: str, arguments: Mapping[str, Any]) -> Any:
    """What the function returns. BadInput when it is not there or does not take the arguments."""
    module_name, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{name}: not found on this image's Python path ({error})") from error
    try:
        return made(**arguments)
    except TypeError as error:
        raise BadInput(f"{name} does not take the arguments {sorted(arguments)} ({error})") from error
