"""Conversion of a torch module to an int8 LiteRT (TFLite) model, by LiteRT's own converter and quantizer.

The converter takes torch modules only, and fixes the batch at one sample, which is how LiteRT is used on a device.
"""

from typing import Any

from slipway.api.quantization.ladder import Rung
from workloads import libraries
from workloads.models.from_artifact import load_model
from workloads.onnx.litert import Session
from workloads.quantize.algorithms.target import RECIPES
from workloads.quantize.context import Context

SIGNATURE = "serving_default"


def candidate(context: Context, rung: Rung) -> bytes:
    """The quantized model of a rung of RECIPES."""
    from ai_edge_quantizer import quantizer, recipe

    float_model = converted(context)
    own = quantizer.Quantizer(bytearray(float_model))
    own.load_quantization_recipe(getattr(recipe, RECIPES[rung])())
    samples = list(_samples(context, float_model)) if own.need_calibration else []
    with libraries.quiet():
        seen = own.calibrate({SIGNATURE: samples}) if own.need_calibration else None
        return bytes(own.quantize(seen).quantized_model)


def converted(context: Context) -> bytes:
    """The float module as LiteRT, kept in the work folder."""
    path = context.work.path("litert/float.tflite")
    if not path.exists():
        import torch

        module, description = load_model(context.source.uri, context.source.digest)
        example = tuple(
            torch.zeros([1 if isinstance(axis, str) else axis for axis in spec.shape])
            for spec in description.signature.inputs
        )
        staged = path.with_name(".float.partial.tflite")
        with libraries.quiet():
            import litert_torch

            litert_torch.convert(module.eval(), example).export(str(staged))
        staged.rename(path)
    return path.read_bytes()


def _samples(context: Context, model: bytes) -> Any:
    """The calibration samples one by one, under the names of the model's inputs."""
    names = Session(model).names
    for chosen in context.reporter.track(context.calibration_batches, "calibration by LiteRT"):
        feeds = context.calibration.read(chosen).feeds
        for row in range(len(chosen)):
            yield {name: value[row : row + 1] for name, value in zip(names, feeds.values(), strict=True)}
