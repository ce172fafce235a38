"""`PYTHON olive_peer.py MODEL FEEDS.npz OUTPUT`: Olive's pass OnnxQuantization with its defaults: static int8.

Run by a Python that has olive-ai and onnxruntime, and nothing of this repository.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import torch
from olive.data.component.dataset import BaseDataset  # type: ignore[import-not-found,unused-ignore]
from olive.data.config import DataComponentConfig, DataConfig  # type: ignore[import-not-found,unused-ignore]
from olive.data.registry import Registry  # type: ignore[import-not-found,unused-ignore]
from olive.hardware.accelerator import DEFAULT_CPU_ACCELERATOR  # type: ignore[import-not-found,unused-ignore]
from olive.model import ONNXModelHandler  # type: ignore[import-not-found,unused-ignore]
from olive.passes.olive_pass import create_pass_from_dict  # type: ignore[import-not-found,unused-ignore]
from olive.passes.onnx.quantization import OnnxQuantization  # type: ignore[import-not-found,unused-ignore]


@Registry.register_dataset()
def calls(feeds: str, **_: object) -> object:
    """Samples, each a whole call, with the label that Olive's loader wants."""
    with np.load(feeds) as arrays:
        found: dict[int, dict[str, np.ndarray]] = {}
        for key in arrays.files:
            call, _, name = key.partition(":")
            found.setdefault(int(call), {})[name] = arrays[key]
    return BaseDataset([(found[call], 0) for call in sorted(found)])


@Registry.register_dataloader()
def whole(dataset: object, **_: object) -> object:
    """No batches: a sample is a call."""
    return torch.utils.data.DataLoader(dataset, batch_size=None, collate_fn=None)  # type: ignore[arg-type,var-annotated]


def main(model: str, feeds: str, output: str) -> None:
    data = DataConfig(
        name="calibration",
        load_dataset_config=DataComponentConfig(type="calls", params={"feeds": feeds}),
        pre_process_data_config=DataComponentConfig(type="skip_pre_process"),
        post_process_data_config=DataComponentConfig(type="skip_post_process"),
        dataloader_config=DataComponentConfig(type="whole"),
    )
    chosen = create_pass_from_dict(
        OnnxQuantization, {"data_config": data}, disable_search=True, accelerator_spec=DEFAULT_CPU_ACCELERATOR
    )
    with tempfile.TemporaryDirectory() as folder:
        made = chosen.run(ONNXModelHandler(model), str(Path(folder) / "made"))
        onnx.save(onnx.load(made.model_path), output)


if __name__ == "__main__":
    main(*sys.argv[1:])
