"""A user's own model or data set: `module:function`, found on the image's Python path, called with named arguments."""

import importlib
import inspect
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
    """Call the function and give its result. BadInput when it is not there or does not take the arguments.

    What goes wrong inside of it is raised as it is: its traceback leads to its own line.
    """
    made = _found(name)
    try:
        inspect.signature(made).bind(**arguments)
    except ValueError:
        pass  # a function of C code, which does not say what it takes
    except TypeError as error:
        raise BadInput(
            f"{name} does not take the arguments {sorted(arguments)} ({error}): "
            "end its parameters with **known, and what it has no use for stays there"
        ) from error
    return made(**arguments)


def parameters(name: str) -> set[str]:
    """Names of what the function or class takes; empty where it does not say."""
    try:
        return set(inspect.signature(_found(name)).parameters)
    except (TypeError, ValueError):
        return set()


def _found(name: str) -> Any:
    """The function or class. BadInput when it is not there."""
    module_name, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), function)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            raise BadInput(f"{name} imports {error.name}, which is not installed in this image: add it") from error
        raise BadInput(f"{name}: not found on this image's Python path ({error})") from error
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{name}: not found on this image's Python path ({error})") from error
