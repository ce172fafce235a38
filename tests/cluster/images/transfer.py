"""Brings images to containerd stores: only the layers that a store lacks, to all stores at once."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cluster.images import archive
from tests.cluster.images.archive import Source
from tests.cluster.say import say


@dataclass(frozen=True)
class Store:
    """The images of one containerd, in the namespace that its kubelet uses."""

    name: str
    socket: Path

    def references(self) -> set[str]:
        """Return the names of its images."""
        return set(self._ctr("images", "ls", "-q").split())

    def blobs(self) -> set[str]:
        """Return the digests that it holds."""
        return set(self._ctr("content", "ls", "-q").split())

    def add(self, source: Source, reference: str) -> int:
        """Import an image unless the store has it; return the bytes that had to be copied. Raises RuntimeError."""
        if reference in self.references():
            return 0
        known = self.blobs()
        command = [*self._command(), "images", "import", "--digests", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as ctr:
            written = _feed(source, reference, known, ctr)
            said = ctr.stdout.read().decode() if ctr.stdout else ""
        if ctr.returncode or reference not in self.references():
            raise RuntimeError(f"{self.name} did not import {reference}:\n{said}")
        self._forget_imports()
        return written

    def _forget_imports(self) -> None:
        """Remove names by digest that each import leaves beside the image's own: they keep every old layer for good."""
        if left := sorted(name for name in self.references() if name.startswith("import-")):
            self._ctr("images", "rm", *left)

    def remove(self, references: Sequence[str]) -> None:
        """Forget images; their layers go when nothing else needs them."""
        if found := sorted(self.references() & set(references)):
            self._ctr("images", "rm", *found)

    def _command(self) -> list[str]:
        return ["ctr", "--address", str(self.socket), "--namespace", "k8s.io"]

    def _ctr(self, *argv: str) -> str:
        done = subprocess.run([*self._command(), *argv], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(argv)} on {self.name}: {done.stderr.strip()}")
        return done.stdout


def load(stores: Sequence[Store], source: Source, references: Sequence[str]) -> None:
    """Import images into every store."""
    with ThreadPoolExecutor(len(stores)) as pool:
        for reference in references:
            copied = list(pool.map(lambda store, name=reference: store.add(source, name), stores))
            if any(copied):
                say(f"{reference}: {max(copied) / 1e6:.1f} MB of layers to each of {len(stores)} nodes")


def _feed(source: Source, reference: str, known: set[str], ctr: subprocess.Popen[bytes]) -> int:
    pipe: IO[bytes] | None = ctr.stdin
    if pipe is None:
        raise RuntimeError("ctr has no stdin")
    try:
        return archive.write(source, reference, pipe, known)
    except BrokenPipeError:
        return 0  # ctr says why; the caller reads it
    finally:
        pipe.close()
