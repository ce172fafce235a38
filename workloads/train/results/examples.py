"""Example predictions of a report: some held-out pictures with the published model's answers."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from workloads import models, tied_tensors
from workloads.models.compressed import rebuilt
from workloads.train.loop import Training
from workloads.train.results.html_report import Sample
from workloads.train.tasks.classify import Pictures

SHOWN, SIDE = 12, 112


def examples(training: Training, weights: dict[str, torch.Tensor]) -> Sequence[Sample]:
    """Some samples all over the held-out set; none for other tasks, or for a model that cannot be built again here.

    On the CPU, by the first process alone: whatever the strategy, it has the whole weights.
    """
    if not isinstance(training.task, Pictures):
        return []
    known, held = training.architecture, training.data.held_out
    chosen = np.unique(np.linspace(0, len(held) - 1, min(SHOWN, len(held))).astype(np.int64)).tolist()
    try:
        pixels, labels = held.batch(chosen)
        model = models.build(known.name, known.arguments, own=True)
        rebuilt(model, known.changes or [])
        plain = {name: one.detach().cpu() for name, one in tied_tensors.written(weights).items()}
        model.load_state_dict(tied_tensors.completed(model, plain))
        with torch.no_grad():
            inputs = training.task.inputs(torch.from_numpy(pixels).to(training.world.device)).cpu()
            pieces = torch.split(inputs, training.evaluation_batch)
            outputs = torch.cat([model.eval()(piece).float() for piece in pieces]).softmax(1)
    except Exception as error:  # a user's model may do anything, and the report is no reason to lose what is trained
        training.report.say(f"the report has no examples: {type(error).__name__}: {error}")
        return []
    names = training.data.labels
    return [
        Sample(_uri(picture), names[int(label)], names[int(answer.argmax())], float(answer.max()))
        for picture, label, answer in zip(pixels, labels, outputs, strict=True)
    ]


def _uri(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> str:
    """A picture [c, h, w] as a PNG in a data URI; a large one smaller."""
    plain = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels[:3], 0, -1)
    image = Image.fromarray(np.ascontiguousarray(plain))
    image.thumbnail((SIDE, SIDE))
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return f"data:image/png;base64,{base64.b64encode(sink.getvalue()).decode()}"
