"""Walk over a user's folder: all files below it, and none lost without a word.

pathlib's own `rglob` leaves out what it may not read, and does not follow links to folders: half of a data set would
be missing, and nobody told.
"""

import os
from collections.abc import Callable
from pathlib import Path

from workloads.errors import BadInput

STRAY = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", "lost+found", "@eaDir"})

ARRAYS = frozenset({".npy", ".npz"})


def is_stray(name: str) -> bool:
    """Tell whether a name is none of the data: hidden, or left by a system or an archive."""
    return name.startswith(".") or name in STRAY


def files_below(folder: Path, wanted: Callable[[str], bool], *, lost_links: bool = False) -> list[Path]:
    """All files in a folder and below whose names are `wanted`, sorted. BadInput for a folder that cannot be read.

    Links are followed, each folder once. A link to a folder above would make all that is there this folder's: it is
    left alone. Pipes, sockets and devices are no files. `lost_links`: a link to nowhere is told by whoever opens it,
    instead of here.
    """
    found: list[Path] = []
    seen = {str(above) for above in Path(os.path.realpath(folder)).parents}
    for where, below, files in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(where)
        below[:] = [] if real in seen else [name for name in below if not is_stray(name)]
        if real not in seen:
            found += [Path(where, name) for name in files if not is_stray(name) and wanted(name)]
        seen.add(real)
    lost = [path for path in found if path.is_symlink() and not path.exists()]
    if lost and not lost_links:
        raise BadInput(f"{min(lost)}: this link leads to nowhere: bring what it links to, or remove it")
    return sorted(path for path in found if path.is_file() or path in lost)


def require_no_arrays(path: Path, uri: str | None) -> None:
    """BadInput for a file of NumPy's: which of its arrays are samples, and which say what, only its owner knows."""
    if path.suffix in ARRAYS:
        raise BadInput(f"{uri}: arrays of NumPy: give them as dataset custom, by a class with __getitem__")


def _refuse(error: OSError) -> None:
    raise BadInput(f"{error.filename}: this folder cannot be read ({error.strerror}): set its rights, or move it away")
