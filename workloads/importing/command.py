"""`python -m workloads import`: an ONNX file, and what it does in people's terms, become an artifact.

Exit codes: 0 imported, 1 failed, 2 the model or what is said of it is wrong, 143 SIGTERM.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slipway.api.common.artifact import DESCRIPTION_FILE, TOKENIZER_FILE, Artifact, Source, Task
from slipway.api.common.base import problems_of
from slipway.api.serving.description import ModelDescription
from workloads import artifact, errors, storage, strict_json
from workloads.onnx import model_files
from workloads.onnx.description import described, signature_of
from workloads.pod.signals import StopSignal
from workloads.serve.model import ONNX_FILE, onnx_signature
from workloads.serve.signature import specs_of

LAYOUTS = ("yolov5", "yolov8", "yolov10", "boxes-scores")
FITS = ("Stretch", "Crop", "Letterbox")


def main(arguments: list[str]) -> int:
    """Import. Returns the exit code."""
    StopSignal().install()
    options = _parser().parse_args(arguments)
    try:
        digest, description = run(options.onnx, options.output, _wanted(options), options.tokenizer)
    except (errors.BadInput, errors.Corrupt) as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.BAD_INPUT if isinstance(error, errors.BadInput) else errors.FAILURE
    print(f"artifact {options.output} {digest}: {description.task}, {len(description.labels)} labels")
    return errors.SUCCESS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workloads import", description="Make an artifact of an ONNX file.")
    parser.add_argument("--onnx", required=True, metavar="URI", help="the model, or its folder")
    parser.add_argument("--output", required=True, metavar="URI", help="where the artifact goes")
    parser.add_argument("--task", required=True, choices=[str(task) for task in Task], help="what the model does")
    parser.add_argument("--labels", metavar="A,B,... | FILE", help="names of the classes; a file has one in each line")
    parser.add_argument("--columns", metavar="A,B,...", help="names of a row's values, for task tabular")
    parser.add_argument("--size", metavar="N | HxW", help="of the picture, where the model leaves it open")
    parser.add_argument("--channels", type=int, metavar="N", help="1 for grey, 3 for colour")
    parser.add_argument("--mean", metavar="A,B,C", help="of the channels, taken away after --scale")
    parser.add_argument("--std", metavar="A,B,C", help="of the channels, divided by")
    parser.add_argument("--scale", type=float, metavar="F", help="of pixels, which are 0 to 255; 1/255 when unset")
    parser.add_argument("--order", choices=["RGB", "BGR"], help="of the channels")
    parser.add_argument("--fit", choices=FITS, help="how pictures of another shape become the size")
    parser.add_argument("--resize", type=int, metavar="N", help="Crop: the shorter side before the centre is cut out")
    parser.add_argument("--thresholds", metavar="score=0.5,overlap=0.4", help="which boxes of a detector are told")
    parser.add_argument(
        "--layout", choices=["yolov5", "yolov8", "yolov10", "boxes-scores"], help="of a detector's output"
    )
    parser.add_argument("--tokenizer", metavar="URI", help="tokenizer.json or its folder, for texts")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="of a text")
    parser.add_argument("--pooling", choices=["mean", "first"], help="from a vector for each token to one")
    parser.add_argument("--normalise", action="store_true", default=None, help="vectors of length 1")
    parser.add_argument(
        "--no-special-tokens", action="store_true", default=None, help="without the tokenizer's own, such as [CLS]"
    )
    return parser


def _wanted(options: argparse.Namespace) -> ModelDescription:
    """The options as the API's own model, which says what is wrong with them."""
    image = {
        **_size(options.size),
        "channels": options.channels,
        "mean": _numbers("--mean", options.mean),
        "std": _numbers("--std", options.std),
        "scale": options.scale,
        "order": options.order,
        "fit": options.fit,
        "resize": options.resize,
    }
    text = {
        "maxTokens": options.max_tokens,
        "pooling": options.pooling,
        "normalise": options.normalise,
        "specialTokens": False if options.no_special_tokens else None,
    }
    found = {
        "task": options.task,
        "labels": _labels(options.labels),
        "columns": _labels(options.columns),
        "image": _set(image),
        "text": _set(text) or ({} if options.tokenizer else None),
        "detection": _set({**_thresholds(options.thresholds), "layout": options.layout}),
    }
    try:
        return ModelDescription.model_validate(_set(found) or {})
    except ValidationError as error:
        words = "; ".join(problem.removeprefix("spec: ").removeprefix("spec.") for problem in problems_of(error))
        raise errors.BadInput(words) from error


def _set(values: dict[str, Any]) -> dict[str, Any] | None:
    kept = {name: value for name, value in values.items() if value is not None}
    return kept or None


def _labels(said: str | None) -> list[str] | None:
    if said is None:
        return None
    if "," not in said and Path(said).is_file():
        lines = Path(said).read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]
    return [label.strip() for label in said.split(",")]


def _numbers(option: str, said: str | None) -> list[float] | None:
    if said is None:
        return None
    try:
        return [float(number) for number in said.split(",")]
    except ValueError as error:
        raise errors.BadInput(f"{option} are numbers with commas between them, not {said!r}") from error


def _size(said: str | None) -> dict[str, int]:
    if said is None:
        return {}
    parts = said.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise errors.BadInput(f"--size is a number of pixels or height x width, such as 640 or 480x640, not {said!r}")
    return {"height": int(parts[0]), "width": int(parts[-1])}


def _thresholds(said: str | None) -> dict[str, float]:
    found = {}
    for part in said.split(",") if said else []:
        name, _, number = part.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError as error:
            raise errors.BadInput(f"--thresholds are score=0.5,overlap=0.4, not {said!r}") from error
    return found


def run(uri: str, output: str, wanted: ModelDescription, tokenizer: str | None) -> tuple[str, Artifact]:
    """Check the model, describe it, publish. Returns the artifact's digest and description."""
    where = model_files.fetch(uri)
    path = where / ONNX_FILE if where.is_dir() else where
    if path.suffix != ".onnx" or not path.is_file():
        raise errors.BadInput(f"{uri}: not an .onnx file, and no folder with a {ONNX_FILE}")
    bare, graph = model_files.open_bare(path)
    found = onnx_signature(path)
    signature = signature_of(specs_of(found.inputs), specs_of(found.outputs))
    parameters = sum(_count(tensor.dims) for tensor in graph.graph.initializer)
    with storage.publishing(output, "import") as folder:
        for name in bare.data:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / name, folder / name)
        shutil.copyfile(path, folder / ONNX_FILE)
        if tokenizer is not None:
            words = storage.fetch(tokenizer)
            shutil.copyfile(words / TOKENIZER_FILE if words.is_dir() else words, folder / TOKENIZER_FILE)
        description = described(None, wanted, signature, folder, path.stem)
        lineage = description.lineage.model_copy(update={"sources": [Source(uri=uri, digest=bare.digest)]})
        about = {"parameters": parameters, "lineage": lineage, "files": storage.digests_of(folder)}
        description = description.model_copy(update=about)
        (folder / DESCRIPTION_FILE).write_text(strict_json.document(description.wire()))
        digest = storage.sha256_of(folder / DESCRIPTION_FILE)
        artifact.read(folder, digest)
    return digest, description


def _count(dims: Sequence[int]) -> int:
    total = 1
    for length in dims:
        total *= length
    return total
