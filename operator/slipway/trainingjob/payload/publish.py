"""Run COMMAND, and make a model artifact of what it left: `publish.py TARGET INDEX COMMAND...` ends as COMMAND does.

The program writes model.safetensors or model.onnx, and a short artifact.json, into SLIPWAY_OUTPUT_DIR, a folder beside
TARGET. When it has ended well, node 0 (INDEX 0) adds what artifact.json leaves out, with the sha256 of every file,
renames the folder to TARGET, and tells the digest as the pod's last words. What was at TARGET steps aside. TARGET "-":
there is only a folder for checkpoints to be made. An image of the user's may have nothing of ours: only Python's own
library is used, 3.8 and later.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

# As the operator knows it: the program did its work, and doing it again would leave the same.
UNFIT = 78
# Travels beside this file.
ONNX_READER = "onnx_signature"
WEIGHTS, ONNX, DESCRIPTION, JOB = "model.safetensors", "model.onnx", "artifact.json", "job.json"
TASKS = (
    "image-classification",
    "text-classification",
    "text-generation",
    "object-detection",
    "segmentation",
    "embedding",
    "tabular",
    "raw",
)
DTYPES = (
    "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64", "uint32",
    "uint64", "bfloat16",
)  # fmt: skip
LONGEST_MESSAGE = 4096  # bytes; the kubelet cuts what is longer
CHUNK = 1 << 20


class UnfitError(Exception):
    """Output of the program that is no artifact; the words say what to change."""


def main(arguments: list[str]) -> int:
    """Make the folders, run, publish. Returns the exit code."""
    target, index, *command = arguments
    folder = os.environ.get("SLIPWAY_OUTPUT_DIR")
    for place in (folder, os.environ.get("SLIPWAY_CHECKPOINT_DIR")):
        if place:
            Path(place).mkdir(parents=True, exist_ok=True)
    lead = folder is not None and index == "0"
    if folder is not None and lead:
        _remove_older(Path(folder))
    code = run(command)
    if code or folder is None or not lead:
        return code
    try:
        tell(publish(Path(folder), Path(target)))
    except (UnfitError, OSError) as error:
        print(f"error: the program has ended well, and left no artifact in {folder}: {error}", file=sys.stderr)  # noqa: T201
        return UNFIT
    return 0


def run(command: list[str]) -> int:
    """Run the program; returns its exit code. Signals are passed on to it."""
    child = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: child.send_signal(got))
    code = child.wait()
    return code if code >= 0 else 128 - code


def publish(folder: Path, target: Path) -> dict[str, object]:
    """Complete the description and give the folder its name; returns the artifact as the status tells it."""
    job = json.loads(Path(__file__).with_name(JOB).read_text(encoding="utf-8"))
    said = described(folder, job)
    text = json.dumps(said, indent=1, sort_keys=True, allow_nan=False) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(str(path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        target.rename(_aside(target))
    folder.rename(target)
    figures = [{"name": name, "value": f"{value:.6g}"} for name, value in said["metrics"].items()][:64]
    return {"uri": job["spec"]["output"]["uri"], "digest": digest, "metrics": figures}


def described(folder: Path, job: dict[str, object]) -> dict:  # type: ignore[type-arg]
    """artifact.json, whole: what the program says, and what follows from its files."""
    weights, onnx = folder / WEIGHTS, folder / ONNX
    if not weights.is_file() and not onnx.is_file():
        raise UnfitError(f"write {WEIGHTS} or {ONNX} into it (its path is in SLIPWAY_OUTPUT_DIR)")
    said = _read(folder / DESCRIPTION)
    defaults = {
        "format": "slipway.dev/model",
        "formatVersion": 1,
        "labels": [],
        "metrics": {},
        "created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),  # noqa: UP017
        "lineage": {"job": {"kind": "TrainingJob", **job["metadata"]}, "framework": {"python": sys.version.split()[0]}},  # type: ignore[dict-item]
        "parameters": parameters(weights) if weights.is_file() else 0,
    }
    if onnx.is_file():
        defaults["architecture"], defaults["task"] = {"name": "onnx", "arguments": {}}, "raw"
        if "signature" not in said:
            defaults["signature"] = _signature(onnx)
    whole = {**defaults, **said}
    _check(whole)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DESCRIPTION)
    files = {path.relative_to(folder).as_posix(): path for path in paths}
    whole["files"] = [
        {"path": name, "size": path.stat().st_size, "digest": digest_of(path)} for name, path in sorted(files.items())
    ]
    return whole


def _signature(path: Path) -> object:
    try:
        return importlib.import_module(ONNX_READER).signature(path)
    except (ValueError, IndexError) as error:
        words = f"{path.name} is no ONNX file, or not a plain one ({error}): say signature in {DESCRIPTION}"
        raise UnfitError(words) from error


def _read(path: Path) -> dict:  # type: ignore[type-arg]
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnfitError(f"{DESCRIPTION} is not JSON ({error})") from error
    if not isinstance(said, dict):
        raise UnfitError(f"{DESCRIPTION} is not a JSON object")
    return said


def _check(whole: dict) -> None:  # type: ignore[type-arg]
    """Check what readers of the artifact will ask for; they check all of it again."""
    missing = [name for name in ("task", "architecture", "signature") if name not in whole]
    if missing:
        raise UnfitError(f"{DESCRIPTION} must say {', '.join(missing)}; of {ONNX} all three follow from the file")
    if whole["task"] not in TASKS:
        raise UnfitError(f"task {whole['task']!r} in {DESCRIPTION} is none of {', '.join(TASKS)}")
    if whole["format"] != "slipway.dev/model" or whole["formatVersion"] != 1:
        raise UnfitError(
            f"{DESCRIPTION} is of format version {whole['formatVersion']}: leave format and formatVersion out"
        )
    architecture, signature_ = whole["architecture"], whole["signature"]
    if not isinstance(architecture, dict) or not isinstance(architecture.get("name"), str):
        raise UnfitError(f"architecture in {DESCRIPTION} is {{name, arguments}}: of what the weights are rebuilt")
    architecture.setdefault("arguments", {})
    for side in ("inputs", "outputs"):
        specs = signature_.get(side) if isinstance(signature_, dict) else None
        if not isinstance(specs, list) or not specs or not all(_is_tensor(spec) for spec in specs):
            raise UnfitError(f"signature.{side} in {DESCRIPTION} is a list of {{name, dtype, shape}}")
    if not isinstance(whole["labels"], list) or not all(isinstance(label, str) for label in whole["labels"]):
        raise UnfitError(f"labels in {DESCRIPTION} is a list of words")
    metrics = whole["metrics"]
    if not isinstance(metrics, dict) or not all(_is_number(value) for value in metrics.values()):
        raise UnfitError(f"metrics in {DESCRIPTION} are finite numbers by name")


def _is_tensor(spec: object) -> bool:
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str) or spec.get("dtype") not in DTYPES:
        return False
    return isinstance(spec.get("shape"), list) and all(isinstance(axis, (int, str)) for axis in spec["shape"])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def parameters(path: Path) -> int:
    """Number of parameters in a safetensors file, by its header: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100 * CHUNK:
                raise ValueError("a header of more than 100 MiB")
            header = json.loads(file.read(length))
            shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
            return sum(_product(shape) for shape in shapes)
        except (ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
            raise UnfitError(f"{path.name} is no safetensors file ({error!r})") from error


def _product(numbers: list[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def digest_of(path: Path) -> str:
    """`sha256:` and the digest of a file's bytes."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            piece = file.read(CHUNK)
            if not piece:
                return f"sha256:{found.hexdigest()}"
            found.update(piece)


def _aside(target: Path) -> Path:
    count = 1
    while True:
        candidate = target.with_name(f"{target.name}.replaced-{count}")
        if not candidate.exists():
            return candidate
        count += 1


def _remove_older(folder: Path) -> None:
    """Remove what attempts before this one have left: the folder's name ends with `-aN.partial`."""
    common = folder.name.rpartition("-a")[0]
    for other in folder.parent.glob(f"{common}-a*.partial"):
        if other != folder:
            shutil.rmtree(str(other), ignore_errors=True)


def tell(artifact: dict[str, object]) -> None:
    """Write the pod's last words, as many of them as a kubelet takes."""
    figures = list(artifact["metrics"])  # type: ignore[call-overload]
    text = json.dumps({"artifact": {**artifact, "metrics": figures}})
    while len(text.encode()) > LONGEST_MESSAGE and figures:
        figures.pop()
        text = json.dumps({"artifact": {**artifact, "metrics": figures}})
    Path(os.environ.get("SLIPWAY_TERMINATION_LOG", "/dev/termination-log")).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
