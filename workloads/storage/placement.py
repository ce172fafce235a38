"""Placement of a folder at a local path: checks before a job, rename after it. Called by storage.uris and checkpoints.

Only an artifact is ever replaced, and it steps aside: a folder that holds anything else is somebody's, whatever a job
says. What the file system refuses is told in words that name what to change, before a step is trained.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.api.common.artifact import DESCRIPTION_FILE
from workloads.errors import BadInput, Unavailable

REPLACED = ".replaced-"
KEPT = 2  # replaced artifacts, the newest ones

_WORDS = {
    errno.EROFS: "the file system is read-only: mount it to be written, or choose another path",
    errno.EACCES: "this user may not write there: set pod.securityContext.fsGroup, or the folder's rights",
    errno.EPERM: "this user may not write there: set pod.securityContext.fsGroup, or the folder's rights",
    errno.ENOSPC: "the disk is full: free some of it, or choose another path",
    errno.EDQUOT: "the quota is used up: free some of it, or choose another path",
    errno.ENOTDIR: "the path leads through a file: choose another path",
    errno.EEXIST: "the path leads through a file: choose another path",
    errno.ENAMETOOLONG: "the name is too long for the file system: shorten it",
    errno.ELOOP: "the path leads through links in a circle: choose another path",
}


_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def writing(uri: str, what: str = "output.uri", *, begun: bool = False) -> Iterator[None]:
    """Context for writes below `uri`: BadInput in words for what another attempt would meet again.

    `begun`: there is work to lose, and a full disk may be emptied meanwhile: Unavailable.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        # safetensors has an error of its own, with the system's words in it.
        number = errno.ENOSPC if number is None and "No space left" in str(error) else number
        if number not in _WORDS:
            raise
        told = f"{what} {uri} cannot be written ({os.strerror(number)}): {_WORDS[number]}"
        raise (Unavailable if begun and number in _FULL else BadInput)(told) from error


def require_replaceable(uri: str, target: Path) -> None:
    """BadInput unless nothing is at `target`, an empty folder, or an artifact and nothing else."""
    if not target.exists() and not target.is_symlink():
        return
    other = f"{uri}: it would be replaced as a whole, and"
    if not target.is_dir():
        raise BadInput(f"{other} there is a file: choose a folder of its own")
    if os.path.ismount(target):
        raise BadInput(f"{uri}: a volume is mounted there, which cannot be renamed: name a folder inside of it")
    if target.resolve() in {Path.cwd(), *Path.cwd().parents}:
        raise BadInput(f"{other} this process works there: name a folder inside of it")
    entries = sorted(entry.name for entry in target.iterdir() if not entry.name.startswith("."))
    if not entries and not any(target.iterdir()):
        return
    strange = sorted(set(entries) - _own(target))
    if DESCRIPTION_FILE not in entries or strange:
        held = ", ".join(strange[:3] or ["hidden files"]) + (", ..." if len(strange) > 3 else "")
        raise BadInput(f"{other} it holds what is no artifact ({held}): choose a folder of its own")


def _own(target: Path) -> set[str]:
    """First parts of the names of an artifact's files."""
    try:
        files = json.loads((target / DESCRIPTION_FILE).read_text())["files"]
        return {DESCRIPTION_FILE, *(str(file["path"]).split("/", maxsplit=1)[0] for file in files)}
    except (OSError, ValueError, KeyError, TypeError):
        return {DESCRIPTION_FILE}


def replace(uri: str, target: Path, staged: Path) -> None:
    """Rename `staged` to `target`; what is there already steps aside first.

    A reader in between sees nothing there, never a half.
    """
    while True:
        require_replaceable(uri, target)
        if target.exists() and any(target.iterdir()):
            target.rename(_aside(target))
        try:
            staged.rename(target)
        except OSError:
            if not target.exists():
                raise
            continue  # another writer was faster: its work steps aside as well
        break
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _prune(target)


def _aside(target: Path) -> Path:
    content = hashlib.sha256((target / DESCRIPTION_FILE).read_bytes()).hexdigest()
    name = f"{target.name}{REPLACED}{content[:12]}"
    candidate, count = target.with_name(name), 1
    while candidate.exists():
        count += 1
        candidate = target.with_name(f"{name}-{count}")
    return candidate


def _prune(target: Path) -> None:
    """Remove all but the newest replaced artifacts.

    Only folders that this module has named so, and that are artifacts.
    """
    pattern = re.compile(re.escape(target.name + REPLACED) + "[0-9a-f]{12}(-[0-9]+)?")
    found = [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]
    aside = [path for path in found if (path / DESCRIPTION_FILE).is_file()]
    # A rename changes a folder's ctime, so the last one is what stepped aside last.
    for old in sorted(aside, key=lambda path: path.stat().st_ctime_ns, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
