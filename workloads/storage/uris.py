"""Resolution of URIs, and checks that what they name is whole. Every command reads and publishes through this module.

`pvc://claim/path` is `$SLIPWAY_PVC_ROOT/claim/path` (the operator mounts claims there), `file:///path` and plain paths
are local, everything else goes through fsspec where its driver is installed.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from slipway.api.common.artifact import FileDigest
from workloads.errors import BadInput, Corrupt
from workloads.storage import object_stores, placement

PVC_ROOT = "SLIPWAY_PVC_ROOT"

_downloads: list[Path] = []


def local_path(uri: str) -> Path | None:
    """The path of a local URI, or None when it is remote. BadInput when it points outside its claim."""
    if "://" not in uri:
        return Path(uri).absolute()
    parts = urlsplit(uri)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise BadInput(f"{uri}: a file URI has three slashes, file:///path")
        return Path(unquote(parts.path))
    if parts.scheme != "pvc":
        return None
    if not parts.netloc:
        raise BadInput(f"{uri}: the claim is missing, write pvc://claim/path")
    inside = PurePosixPath(unquote(parts.path).lstrip("/"))
    if ".." in inside.parts:
        raise BadInput(f"{uri}: '..' would leave the claim")
    claim = Path(os.environ.get(PVC_ROOT, "/mnt/pvc")) / parts.netloc
    if not claim.is_dir():
        raise BadInput(f"{uri}: the claim is not mounted, there is no folder {claim}")
    return claim / inside


def fetch(uri: str) -> Path:
    """A local path with the content of `uri`: the place itself, or a download that is removed when the process ends."""
    local = local_path(uri)
    if local is not None:
        if not local.exists():
            raise BadInput(f"{uri}: there is nothing at {local}")
        if not (local.is_file() or local.is_dir()):
            raise BadInput(f"{uri}: neither a file nor a folder, but a pipe, a device or a socket")
        return local
    files, path = object_stores.of(uri)
    folder = Path(tempfile.mkdtemp(prefix="slipway-fetch-"))
    _downloads.append(folder)
    target = folder / PurePosixPath(path).name
    try:
        files.get(path, str(target), recursive=bool(files.isdir(path)))
    except FileNotFoundError as error:
        raise BadInput(f"{uri}: there is nothing at this address") from error
    except Exception as error:
        raise object_stores.refusal(uri, error, "fetched") from error
    return target


def fetch_beside(uri: str, names: Iterable[str], folder: Path) -> None:
    """Download the files of these names beside a remote one into a folder. BadInput when one is not there."""
    for name in names:
        files, path = object_stores.of(uri)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(str(PurePosixPath(path).parent / name), str(target))
        except FileNotFoundError as error:
            raise BadInput(f"{uri}: the file {name} that belongs to it is not beside it") from error


def remove_downloads() -> None:
    """Remove all downloads. Called when the process ends; by hand where it ends without Python's own ceremony."""
    while _downloads:
        shutil.rmtree(_downloads.pop(), ignore_errors=True)


atexit.register(remove_downloads)


def sha256_of(path: Path) -> str:
    """`sha256:` and the digest of one file's bytes."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def name_below(root: Path, path: Path) -> str:
    """A file's name from `root` on, as artifacts and reports have it. BadInput for one that is not UTF-8."""
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        readable = os.fsencode(name).decode(errors="backslashreplace")
        raise BadInput(f"{root}: the name {readable!r} is not UTF-8: rename it") from error
    return name


def digests_of(root: Path, leave_out: Iterable[str] = ()) -> list[FileDigest]:
    """Every regular file under `root` with size and sha256, sorted by path."""
    skipped = set(leave_out)
    paths = sorted(
        (path for path in root.rglob("*") if path.is_file()), key=lambda path: path.relative_to(root).as_posix()
    )
    return [
        FileDigest(path=name, size=path.stat().st_size, digest=sha256_of(path))
        for path in paths
        if (name := name_below(root, path)) not in skipped
    ]


def tree_digest(files: Iterable[FileDigest]) -> str:
    """One digest for a set of files: the sha256 of `<sha256 hex>  <path>\\n` lines in order of path, `sha256sum`'s
    own form.
    """
    lines = (
        f"{file.digest.removeprefix('sha256:')}  {file.path}\n" for file in sorted(files, key=lambda file: file.path)
    )
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def verify(root: Path, files: Iterable[FileDigest]) -> None:
    """Corrupt unless each file is there with its size and sha256."""
    for file in files:
        if ".." in PurePosixPath(file.path).parts:
            raise Corrupt(f"{root}: {file.path} would leave the folder")
        path = root / file.path
        if not path.is_file():
            raise Corrupt(f"{path}: the file is missing")
        size = path.stat().st_size
        if size != file.size:
            raise Corrupt(f"{path}: {size} bytes, {file.size} were written")
        if sha256_of(path) != file.digest:
            raise Corrupt(f"{path}: the sha256 is not the one that was written")


def plain_rights(root: Path) -> None:
    """Set the rights that the umask leaves: some libraries write files that their owner alone may read."""
    mask = os.umask(0)
    os.umask(mask)
    for path in root.rglob("*"):
        if path.is_file():
            path.chmod((path.stat().st_mode & 0o111 | 0o666) & ~mask)


def sync_tree(root: Path) -> None:
    """Force files and folders to the disk, so that a rename never shows a name whose bytes a power cut can still
    take.
    """
    for path in (*root.rglob("*"), root):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_output(uri: str, owner: str) -> None:
    """Check that `publishing` will be able to write there, before a job works for hours: a byte is written and removed.

    BadInput names what to change; Unavailable for a store that does not answer.
    """
    target = _target(uri)
    if target is None:
        object_stores.check(uri, owner)
        return
    placement.require_replaceable(uri, target)
    with placement.writing(uri):
        missing = [one for one in (target.parent, *target.parent.parents) if not one.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        probe = target.parent / f".{target.name}.{owner}.check"
        try:
            with probe.open("wb") as stream:
                stream.write(b"1")
                stream.flush()
                os.fsync(stream.fileno())
            probe.rename(probe.with_suffix(".checked"))
        finally:
            for left in (probe, probe.with_suffix(".checked")):
                left.unlink(missing_ok=True)
            for folder in missing:
                if folder.exists() and not any(folder.iterdir()):
                    folder.rmdir()


def _target(uri: str) -> Path | None:
    """Final path of a local artifact, links followed; None when it is remote. BadInput for a volume's root."""
    if urlsplit(uri).scheme == "pvc" and not urlsplit(uri).path.strip("/"):
        raise BadInput(f"{uri}: name a folder inside the claim, pvc://claim/path; the volume's root cannot be renamed")
    target = local_path(uri)
    return target.resolve() if target is not None and target.is_symlink() else target


@contextmanager
def publishing(uri: str, owner: str) -> Iterator[Path]:
    """A folder to fill; at the end of the block it stands whole at `uri`, or nothing has changed there.

    `owner` names the writer: what a killed attempt of the same writer left is removed. An artifact that was at `uri`
    before is moved aside under a name with its digest, anything else is refused. Remote: `artifact.json` is uploaded
    last, and an artifact without it is none.
    """
    target = _target(uri)
    if target is None:
        with tempfile.TemporaryDirectory(prefix="slipway-publish-") as folder:
            yield Path(folder)
            object_stores.upload(Path(folder), uri, owner)
        return
    placement.require_replaceable(uri, target)
    staged = target.parent / f".{target.name}.{owner}.partial"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with placement.writing(uri, begun=True):
            staged.mkdir(parents=True)
            yield staged
            plain_rights(staged)
            sync_tree(staged)
            placement.replace(uri, target, staged)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
