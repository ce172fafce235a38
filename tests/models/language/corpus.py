"""Documents to train and to judge a small language model on: Python's own documentation, as Debian packages it.

The short corpus is inside every Python (pydoc's topics, 0.46 MB); the long one is the text of Debian's python3.N-doc.
Split by document, by a hash of its text, so that what is held out was never trained on.
"""

import hashlib
import importlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = f"python3.{sys.version_info.minor}-doc"
PIECE = 6000  # characters of a document, of which pydoc's topics have few and long ones


@dataclass(frozen=True)
class Corpus:
    """Texts by use. `calibration` is neither trained on nor judged on."""

    training: list[str]
    calibration: list[str]
    held_out: list[str]


def short() -> Corpus:
    """pydoc's topics, cut into pieces at their paragraphs."""
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    return _split([piece for text in topics.values() for piece in _pieces(text)])


def long() -> Corpus:
    """The texts of Debian's documentation package. RuntimeError where it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="slipway-corpus-") as folder:
        command = ["apt-get", "download", "-q", PACKAGE]
        fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        packages = list(Path(folder).glob("*.deb"))
        if not packages:
            raise RuntimeError(f"{PACKAGE} cannot be fetched: {fetched.stderr.strip()[-200:]}")
        subprocess.run(["dpkg-deb", "-x", str(packages[0]), f"{folder}/x"], check=True)
        texts = [path.read_text(errors="ignore") for path in sorted(Path(folder, "x").rglob("*.txt"))]
    return _split([piece for text in texts for piece in _pieces(text)])


def _pieces(text: str) -> list[str]:
    pieces, held = [], ""
    for paragraph in text.strip().split("\n\n"):
        held += paragraph + "\n\n"
        if len(held) > PIECE:
            pieces.append(held.strip())
            held = ""
    return [piece for piece in (*pieces, held.strip()) if len(piece) > 200]


def _split(texts: list[str]) -> Corpus:
    """A tenth for calibration, a tenth held out."""
    parts: list[list[str]] = [[], [], []]
    ordered = sorted({hashlib.sha256(text.encode()).hexdigest(): text for text in texts}.items())
    for key, text in ordered:
        tenth = int(key[:8], 16) % 10
        parts[{0: 1, 1: 2}.get(tenth, 0)].append(text)
    return Corpus(*parts)
