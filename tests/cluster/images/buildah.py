"""Builds images by buildah, without a daemon and without a registry: the base is a Debian made by debootstrap."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import paths
from tests.cluster.images.storage import BuildahStorage
from tests.cluster.local import debian
from tests.cluster.say import step

MAKE_BASE = "make the base image with debootstrap"
# A new number makes the base, and every image on it, anew.
_BASE = "localhost/slipway/base:bookworm-1"
_PACKAGES = "python3,python3-venv,ca-certificates"
_NEEDLESS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")


def base() -> str:
    """Return the base image, made first if there is none: Debian bookworm with Python. About 100 s, once."""
    debian.install(debian.IMAGES)
    if not has(_BASE):
        with step(MAKE_BASE), tempfile.TemporaryDirectory(dir=_folder()) as made:
            root = Path(made) / "root"
            debian.quiet("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root))
            for needless in _NEEDLESS:
                shutil.rmtree(root / needless)
                (root / needless).mkdir()
            archive = root.with_suffix(".tar")
            debian.quiet("tar", "-C", str(root), "-cf", str(archive), ".")
            container = _buildah("from", "scratch").strip()
            _buildah("add", "-q", container, str(archive), "/")
            _buildah("config", "--cmd", "/bin/bash", container)
            _buildah("commit", "-q", "--rm", container, _BASE)
    return _BASE


def has(reference: str) -> bool:
    """Tell whether an image is in the storage."""
    return (
        subprocess.run([*_command(), "inspect", "--type=image", reference], capture_output=True, check=False).returncode
        == 0
    )


def build(dockerfile: Path, reference: str, wheels: Path, base: str) -> None:
    """Build a Dockerfile of the repository on `base`; layers whose inputs did not change stay. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as empty:
        ignored = Path(empty) / "ignore"
        ignored.write_text("**/__pycache__\n")
        _buildah(
            *("bud", "-q", "--layers", "--isolation=chroot", "--network=host", f"--ignorefile={ignored}"),
            *(f"--build-context=wheels={wheels}", f"--build-arg=BASE={base}"),
            *(f"--file={dockerfile}", f"--tag={reference}", str(paths.REPOSITORY)),
        )


def remove(references: Sequence[str]) -> None:
    """Drop images; the layers that others use stay."""
    for reference in filter(has, references):
        _buildah("rmi", reference)


def push(reference: str, target: str, *, insecure: bool) -> str:
    """Push an image under another name; return its digest there. Raises RuntimeError."""
    with tempfile.NamedTemporaryFile(mode="r", dir=_folder()) as digest:
        # One without TLS is near: there the minutes that gigabytes take to be packed count more than their size.
        how = ["--tls-verify=false", "--disable-compression"] if insecure else []
        _buildah("push", "-q", *how, f"--digestfile={digest.name}", reference, f"docker://{target}")
        return digest.read().strip()


def storage() -> BuildahStorage:
    """Return the built images, for loading into nodes."""
    return BuildahStorage(_folder() / "storage")


def _folder() -> Path:
    folder = paths.cache() / "images"
    folder.mkdir(exist_ok=True)
    return folder


def _command() -> list[str]:
    folder = _folder()
    # In a mount namespace of its own: what it mounts, and leaves mounted, goes with it.
    return [
        "unshare",
        "--mount",
        "buildah",
        f"--root={folder}/storage",
        f"--runroot={folder}/run",
        "--storage-driver=overlay",
    ]


def _buildah(*argv: str) -> str:
    done = subprocess.run([*_command(), *argv], capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise RuntimeError(f"buildah {argv[0]} failed:\n{tail}")
    return done.stdout
