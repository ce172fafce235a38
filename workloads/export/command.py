"""`python -m workloads export`: an artifact with weights becomes one that has model.onnx beside them.

Exit codes: 0 exported, 1 failed, 2 the artifact cannot be exported, 143 SIGTERM.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from slipway.api.common.artifact import DESCRIPTION_FILE, Artifact
from slipway.api.common.artifact import Source as LineageSource
from slipway.api.common.sources import DatasetChoice
from slipway.api.quantization.evaluation import Evaluation, metric_for
from workloads import artifact, errors, storage, strict_json
from workloads.export.from_torch import COMPARED, LENGTHS, Comparison, compare, compare_on, export
from workloads.models.from_artifact import load_model
from workloads.onnx import file as onnx_file
from workloads.pod.signals import StopSignal

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

ONNX_FILE = "model.onnx"


def main(arguments: list[str]) -> int:
    """Export an artifact. Returns the exit code."""
    StopSignal().install()
    parser = argparse.ArgumentParser(prog="python -m workloads export", description="Add model.onnx to an artifact.")
    parser.add_argument("--model", required=True, metavar="URI", help="the artifact")
    parser.add_argument("--output", required=True, metavar="URI", help="where the new artifact goes")
    options = parser.parse_args(arguments)
    try:
        digest, same = run(options.model, options.output)
    except (errors.BadInput, errors.Corrupt) as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.BAD_INPUT if isinstance(error, errors.BadInput) else errors.FAILURE
    print(f"artifact {options.output} {digest}: equal to torch within {same.difference:.1e} on {same.samples} samples")
    return errors.SUCCESS


def run(uri: str, output: str) -> tuple[str, Comparison]:
    """Export, compare, publish. Returns the new artifact's digest and how far torch and ONNX differ."""
    stored = artifact.read(uri)
    module, description = load_model(stored.folder, stored.digest)
    model = export(module, description.signature)
    same = _compared(module, model, description)
    lineage = description.lineage.model_copy(
        update={"sources": [*description.lineage.sources, LineageSource(uri=uri, digest=stored.digest)]}
    )
    with storage.publishing(output, "export") as folder:
        for file in description.files:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stored.folder / file.path, folder / file.path)
        onnx_file.save(model, folder / ONNX_FILE)
        described = description.model_copy(update={"lineage": lineage, "files": storage.digests_of(folder)})
        path = folder / DESCRIPTION_FILE
        path.write_text(strict_json.document(described.wire()))
        return storage.sha256_of(path), same


def _texts(choice: DatasetChoice, description: Artifact) -> "Iterator[dict[str, npt.NDArray[Any]]]":
    """Held-out texts as the tokens that the model was trained on."""
    from workloads import data
    from workloads.onnx.samples.sources import LEARNED

    found = data.open_set(choice, LEARNED.get(description.task))
    count = min(COMPARED, len(found.held_out))
    cuts = [0, *(cut for cut in LENGTHS if cut < count), count]
    for begin, end in pairwise(cuts):
        yield {description.signature.inputs[0].name: found.held_out.batch(range(begin, end))[0]}


def _compared(module: "torch.nn.Module", model: Any, description: Artifact) -> Comparison:
    """Compare torch and ONNX on held-out samples of the artifact's data, in batches of different lengths."""
    from workloads.onnx import session
    from workloads.onnx.samples.sources import evaluation_samples

    try:
        choice = DatasetChoice.model_validate(description.lineage.recipe.get("dataset"))
    except ValidationError as error:
        raise errors.BadInput(
            "the artifact does not say what it was trained on: there is nothing to compare on"
        ) from error
    if description.text is not None:
        return compare(module, session.session(model), _texts(choice, description))
    ports = onnx_file.inputs_of(model)
    evaluation = Evaluation(dataset=choice, metric=metric_for(choice.name))
    samples = evaluation_samples(evaluation, ports, description.preprocessing, task=description.task, want_labels=False)
    return compare_on(module, session.session(model), samples)
