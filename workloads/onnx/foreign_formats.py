"""Formats of models that are neither an artifact nor ONNX: told by their content, refused in words that say what to do.

Nothing is opened: names, the first bytes and the list of an archive's members are all that is looked at.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

from workloads.errors import BadInput

HEAD = 64  # bytes of a file that are looked at
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
PICKLED = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib"})

WORDS = {
    "keras": "a Keras model: load it where TensorFlow is installed, model.export('saved'), and convert that by "
    "python -m tf2onnx.convert --saved-model saved --output model.onnx",
    "hdf5": "HDF5, as Keras writes models and weights: load it in Keras with TensorFlow, model.export('saved'), and "
    "convert that by python -m tf2onnx.convert --saved-model saved --output model.onnx",
    "saved-model": "a TensorFlow SavedModel: convert it by python -m tf2onnx.convert --saved-model DIR --output "
    "model.onnx",
    "graph-def": "a TensorFlow graph: convert it by python -m tf2onnx.convert --graphdef FILE --output model.onnx",
    "tflite": "a LiteRT (TensorFlow Lite) model, which is the end of a conversion: give the model that it was made "
    "from; for an artifact of a TrainingJob, target.runtime litert makes one. A float one may be turned "
    "into ONNX by python -m tf2onnx.convert --tflite FILE --output model.onnx",
    "torchscript": "TorchScript, a program that would run when it is loaded: load it where you trust it with "
    "torch.jit.load, and export it to ONNX with torch.onnx.export(model, example, 'model.onnx', "
    "dynamo=False)",
    "exported-program": "a program of torch.export: load it with torch.export.load, and export it to ONNX with "
    "torch.onnx.export(program, f='model.onnx')",
    "pickle": "a pickle can run code when it is opened: train to an artifact, or export to ONNX where you trust it,"
    " torch.onnx.export(model, example, 'model.onnx', dynamo=True)",
    "hugging-face": "a Hugging Face folder: weights without the program that they belong to; export it to ONNX by "
    "optimum-cli export onnx --model DIR OUTPUT, and give OUTPUT/model.onnx",
    "safetensors": "safetensors: weights without the program that they belong to; export the model to ONNX, "
    "torch.onnx.export(model, example, 'model.onnx', dynamo=True), or give the artifact of a TrainingJob",
    "gguf": "GGUF, llama.cpp's format, whose weights are quantized by its own tools (llama-quantize): there is "
    "nothing to do here; for ONNX export the model that it was made from",
    "core-ml": "a Core ML model, the end of a conversion to Apple's devices: give the model that it was made from, "
    "as ONNX",
    "openvino": "OpenVINO's intermediate representation, the end of a conversion: give the ONNX that it was made "
    "from; target.runtime openvino quantizes ONNX for it",
    "tensorrt": "a TensorRT engine, compiled for one kind of GPU: give the ONNX that it was made from; target.runtime"
    " tensorrt quantizes ONNX for it",
    "ort": "ONNX Runtime's own format, the end of a conversion: give the .onnx that it was made from",
    "paddle": "a Paddle model: convert it by paddle2onnx --model_dir DIR --model_filename FILE --save_file model.onnx",
    "compressed": "a compressed archive: unpack it, and give the model in it",
    "folder": "a folder with several ONNX models: name one of them, {names}",
    "text": "text, and no ONNX model: is the address of the model itself, or of a page or a pointer (Git LFS) to it?",
}


def require_known(uri: str, path: Path) -> None:
    """BadInput for a file or folder of a format that has to be converted first."""
    found = _of_folder(path) if path.is_dir() else _of_file(path)
    if found:
        names = ", ".join(sorted(file.name for file in path.glob("*.onnx"))[:8]) if path.is_dir() else ""
        raise BadInput(f"{uri}: {WORDS[found].format(names=names)}")


def only_onnx(path: Path) -> Path:
    """The one ONNX file of a folder, as exporters leave it; else the path itself."""
    files = sorted(path.glob("*.onnx")) if path.is_dir() else []
    return files[0] if len(files) == 1 else path


def _of_folder(folder: Path) -> str:
    def holds(*patterns: str) -> bool:
        return any(any(folder.glob(pattern)) for pattern in patterns)

    if len(list(folder.glob("*.onnx"))) > 1:
        return "folder"
    kinds: list[tuple[str, tuple[str, ...]]] = [
        ("saved-model", ("saved_model.pb", "saved_model.pbtxt")),
        ("core-ml", ("Data/com.apple.CoreML/*", "coremldata.bin")),
        ("paddle", ("*.pdmodel", "*.pdiparams")),
        ("openvino", ("openvino_model.xml",)),
        ("gguf", ("*.gguf",)),
        ("hugging-face", ("*.safetensors",)),
        ("keras", ("*.keras", "keras_metadata.pb")),
        ("tflite", ("*.tflite",)),
        ("pickle", ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")),
    ]
    return next((kind for kind, patterns in kinds if holds(*patterns)), "")


def _of_file(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        return _of_archive(path)
    suffix = path.suffix.lower()
    marks: list[tuple[str, Callable[[], bool]]] = [
        ("hdf5", lambda: head.startswith(b"\x89HDF\r\n\x1a\n")),
        ("gguf", lambda: head.startswith((b"GGUF", b"ggml", b"ggjt", b"tjgg"))),
        ("tflite", lambda: head[4:8] == b"TFL3"),
        ("ort", lambda: head[4:8] == b"ORTM"),
        ("tensorrt", lambda: head.startswith((b"ftrt", b"ptrt")) or suffix in {".engine", ".plan"}),
        ("safetensors", lambda: suffix == ".safetensors" or head[8:10] == b'{"'),
        ("core-ml", lambda: suffix == ".mlmodel"),
        ("paddle", lambda: suffix in {".pdmodel", ".pdiparams"}),
        ("openvino", lambda: (head.lstrip().startswith(b"<?xml") and suffix == ".xml") or b"<net " in head),
        ("graph-def", lambda: suffix in {".pb", ".pbtxt"}),
        ("compressed", lambda: head.startswith((b"\x1f\x8b", b"\xfd7zXZ", b"BZh", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd"))),
        # A pickle with ONNX's name is told by whoever reads the file.
        ("pickle", lambda: suffix in PICKLED or (suffix != ".onnx" and head.startswith(PICKLES))),
        ("text", lambda: head.lstrip().startswith((b"version https://git-lfs", b"<!DOCTYPE", b"<html", b"{"))),
    ]
    return next((kind for kind, holds in marks if holds()), "")


def _of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return "pickle" if path.suffix.lower() in PICKLED else ""
    ends = {name.partition("/")[2] or name for name in names}
    if {"config.json", "metadata.json"} <= set(names):
        return "keras"
    if "archive_format" in ends or any(end.startswith("models/") for end in ends):
        return "exported-program"
    if "constants.pkl" in ends or any("/code/" in f"/{name}" for name in names):
        return "torchscript"
    return "pickle" if "data.pkl" in ends or path.suffix.lower() in PICKLED else "compressed"
