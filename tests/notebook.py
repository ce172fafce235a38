"""Execution of a notebook of the documents, as Jupyter would, in a folder of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.cluster.paths import REPOSITORY

TUTORIAL = REPOSITORY / "docs" / "notebooks" / "tutorial.ipynb"


def outputs(file: Path, folder: Path, replaced: dict[str, str], timeout: int) -> str:
    """Text that the cells print or return, with words of the cells replaced; seconds for each cell."""
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        for old, new in replaced.items():
            cell.source = cell.source.replace(old, new)
    text = os.pathsep.join(str(REPOSITORY / part) for part in ("operator", "."))
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = text if not path else os.pathsep.join((text, path))
    try:
        client = NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}})
        client.create_kernel_manager()
        assert client.km is not None
        # This very Python, not one that a kernel of that name was installed for.
        client.km.kernel_spec.argv[0] = sys.executable
        client.execute()
    finally:
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path
    said = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(str(one.get("text") or one.get("data", {}).get("text/plain", "")) for one in said)
