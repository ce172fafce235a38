"""Google's file type model on the files of this machine: full static int8 destroys it, and the ladder has to see that.

The right answer of a file is what its extension says; extensions that mean several types are left out. The bytes are
cut as Magika's own package does: 1024 from each end of the file, white space stripped, 256 where there are none.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.models.catalogue import MAGIKA

MODEL = "magika/models/standard_v3_3"
TYPES = "magika/config/content_types_kb.min.json"
ROOT = Path("/usr")
PER_TYPE, CALIBRATED = 70, 256
NOT_ONE_TYPE = {"h", "pl", "pm", "txt", "in", "inc", "t"}
BLOCK, SIDE, PADDING = 4096, 1024, 256


def bytes_of(path: Path) -> np.ndarray:
    """What the model reads of a file [2048]."""
    with path.open("rb") as stream:
        size = path.stat().st_size
        first = stream.read(min(size, BLOCK)).lstrip()[:SIDE]
        stream.seek(max(0, size - BLOCK))
        last = stream.read(BLOCK).rstrip()[-SIDE:]
    row = np.full(2 * SIDE, PADDING, np.int32)
    row[: len(first)] = np.frombuffer(first, np.uint8)
    row[2 * SIDE - len(last) :] = np.frombuffer(last, np.uint8)
    return row


def files(labels: list[str], types: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    """Files with one meaning, at most PER_TYPE of a type, by a seed; the same file under two names counts once."""
    meaning: dict[str, set[str]] = {}
    for name, about in types.items():
        for extension in about.get("extensions", []):
            meaning.setdefault(extension, set()).add(name)
    known = {e: next(iter(t)) for e, t in meaning.items() if len(t) == 1 and e not in NOT_ONE_TYPE}
    found: dict[str, list[Path]] = {}
    for path in sorted(ROOT.rglob("*.*")):
        label = known.get(path.suffix[1:])
        if label in labels and path.is_file() and not path.is_symlink() and path.stat().st_size >= 64:
            found.setdefault(label, []).append(path)
    for label in sorted(label for label, paths in found.items() if len(paths) >= 20):
        for path in random.Random(7).sample(found[label], min(PER_TYPE, len(found[label]))):
            yield path, labels.index(label)


def prepare(folder: Path) -> dict[str, Any]:
    """The spec of a QuantizationJob: its model from the package, its data written to the folder."""
    package = MAGIKA.unpacked()
    labels = json.loads((package / MODEL / "config.min.json").read_text())["target_labels_space"]
    types = json.loads((package / TYPES).read_text())
    rows = {bytes_of(path).tobytes(): label for path, label in files(labels, types)}
    order = random.Random(11).sample(sorted(rows), len(rows))
    pixels = np.stack([np.frombuffer(row, np.int32) for row in order])
    classes = np.array([rows[row] for row in order], np.int64)
    np.savez(folder / "calibration.npz", bytes=pixels[:CALIBRATED], labels=classes[:CALIBRATED])
    np.savez(folder / "evaluation.npz", bytes=pixels[CALIBRATED:], labels=classes[CALIBRATED:])
    return {
        "model": {"uri": (package / MODEL / "model.onnx").as_uri()},
        "calibration": {"uri": (folder / "calibration.npz").as_uri(), "samples": CALIBRATED},
        "evaluation": {"uri": (folder / "evaluation.npz").as_uri()},
    }
