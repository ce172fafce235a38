"""Manifests that the user names: files, directories of them, or standard input. Called by `plan` and `local`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SUFFIXES = (".yaml", ".yml", ".json")


class ManifestError(Exception):
    """File that is not there or is no YAML; the text names it."""


class MissingFileError(ManifestError):
    """File that the command line names and that is not there."""


def documents(names: Iterable[str]) -> list[dict[str, Any]]:
    """All objects in files, in directories (not in those below, as for kubectl) and in Lists. Raises ManifestError."""
    return [one for name in names for source, text in _texts(name) for one in _objects(source, text)]


def _texts(name: str) -> list[tuple[str, str]]:
    if name == "-":
        return [("standard input", sys.stdin.read())]
    path = Path(name)
    try:
        if not path.is_dir():
            return [(name, path.read_text())]
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise ManifestError(f"{name} holds no file that ends with {', '.join(SUFFIXES)}")
        return [(str(file), file.read_text()) for file in found]
    except FileNotFoundError as error:
        raise MissingFileError(f"{name} is not there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{name}: {error}") from error


def _objects(source: str, text: str) -> list[dict[str, Any]]:
    import yaml

    try:
        found = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    except yaml.YAMLError as error:
        raise ManifestError(f"{source}: {error}") from error
    return [one for document in found for one in (_items(document) if document.get("kind") == "List" else [document])]


def _items(wrapper: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in wrapper.get("items") or [] if isinstance(one, dict)]
