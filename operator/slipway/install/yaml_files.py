"""YAML of a release's files, read and written by libyaml: PyYAML's own code takes eight times as long for the CRDs.

Wheels of PyYAML have libyaml; where one was built without, Python's code does the same.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def documents(text: str) -> Iterator[Any]:
    """The documents of a text, one after the other. Raises yaml.YAMLError."""
    yield from yaml.load_all(text, Loader=_LOADER)


def document(text: str) -> Any:
    """The only document of a text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506  (safe, both)


def written(objects: Iterable[Any], width: int) -> str:
    """The objects as documents, keys in their order, no line longer than `width` where it can be broken."""
    text: str = yaml.dump_all(objects, Dumper=_DUMPER, sort_keys=False, width=width)
    return text
