"""What is refused, by the command that a user types: exit code 2, and one line that says what to change."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Union

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.unit.quantize import jobs
from tests.unit.quantize.conftest import environment
from tests.unit.train import processes

Files = dict[str, Path]
Ended = Union["subprocess.CompletedProcess[str]", processes.Done]


def arrays(path: Path, value: float = 0.5, *, labels: bool = True, count: int = 40) -> Path:
    images = np.random.default_rng(0).random((count, 1, 8, 8)).astype(np.float32)
    images[3, 0, 2, 2] = value
    np.savez(path, images=images, **({"labels": np.arange(count, dtype=np.int64) % 10} if labels else {}))
    return path


def outside(path: Path) -> Path:
    """A model whose weights lie in another folder."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../../etc/hostname")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def written(folder: Path, digits: Path) -> Files:
    """Every file that a row of the table names."""
    for name, content in (("model.pt", b"\x80\x04."), ("pickle.onnx", b"\x80\x04."), ("torch.onnx", b"PK\x03\x04")):
        (folder / name).write_bytes(content)
    return {
        "digits": digits,
        "pickle": folder / "model.pt",
        "disguised": folder / "pickle.onnx",
        "archive": folder / "torch.onnx",
        "outside": outside(folder / "outside.onnx"),
        "absent": folder / "absent",
        "good": arrays(folder / "good.npz"),
        "nan": arrays(folder / "nan.npz", np.nan),
        "infinite": arrays(folder / "infinite.npz", np.inf),
        "unlabelled": arrays(folder / "unlabelled.npz", labels=False),
    }


def uri(path: Path) -> dict[str, str]:
    return {"uri": path.as_uri()}


# What a user did: the exit code, the words that must come, and the job.
TABLE: dict[str, tuple[int, str, Callable[[Files], dict[str, Any]]]] = {
    "static without calibration data": (
        2,
        "static rungs, and int4 ones but rtn-int4, need samples to calibrate on: set calibration",
        lambda _: {"calibration": None},
    ),
    "a gate without data": (2, "spec.evaluation: required", lambda _: {"evaluation": None}),
    "a gate without labels": (
        2,
        "no array 'labels': accuracy needs the right answers; add them, or use metric agreement",
        lambda f: {"evaluation": uri(f["unlabelled"])},
    ),
    "the task's sensitivity without labels": (
        2,
        "sensitivity.metric task needs labels in the calibration data; use sqnr",
        lambda f: {
            "calibration": {**uri(f["unlabelled"]), "methods": ["min-max"]},
            "sensitivity": {"metric": "task"},
            "weights": {"bits": 2},
            "ladder": ["static-per-tensor", "mixed-precision"],
        },
    ),
    "calibration data equal to evaluation data": (
        0,
        "warning: calibration and evaluation data are the same",
        lambda f: {
            "calibration": uri(f["good"]),
            "evaluation": {**uri(f["good"]), "metric": "agreement"},
            "ladder": ["static-per-tensor"],
        },
    ),
    "FP8 on a CPU": (
        2,
        "fp8 needs target.runtime tensorrt: runtimes on a CPU have no FP8 kernels",
        lambda _: {"ladder": ["static-per-channel", "fp8"]},
    ),
    "a pickle": (2, "a pickle, which can run code|a pickle can run code", lambda f: {"model": uri(f["pickle"])}),
    "a pickle that says it is ONNX": (2, "a pickle or an archive", lambda f: {"model": uri(f["disguised"])}),
    "an archive that says it is ONNX": (2, "a pickle or an archive", lambda f: {"model": uri(f["archive"])}),
    "weights outside the model's folder": (
        2,
        r"the data of w lies outside the model's folder \('\.\./\.\./\.\./etc/hostname'\)",
        lambda f: {"model": uri(f["outside"])},
    ),
    "no such model": (2, "no folder|nothing at", lambda f: {"model": uri(f["absent"])}),
    "NaN in the calibration data": (
        2,
        "nan.npz: images of sample 3 holds values that are not finite",
        lambda f: {"calibration": uri(f["nan"])},
    ),
    "infinity in the evaluation data": (
        2,
        "infinite.npz: images of sample 3 holds values that are not finite",
        lambda f: {"evaluation": uri(f["infinite"])},
    ),
    "training without a data set": (
        2,
        "the rung qat trains on calibration.dataset: set it",
        lambda f: {"calibration": uri(f["good"]), "ladder": ["qat"]},
    ),
    "an exclusion that names nothing": (
        2,
        r"exclude.nodes: no node is named '/head/\*'; the first ones are",
        lambda _: {"exclude": {"nodes": ["/head/*"]}},
    ),
    "mixed precision of nothing": (
        2,
        "mixed-precision starts from a static candidate",
        lambda _: {"ladder": ["mixed-precision", "static-per-tensor"]},
    ),
    "TensorRT on a CPU": (
        2,
        "runtime tensorrt and hardware nvidia belong together",
        lambda _: {"target": {"runtime": "tensorrt"}},
    ),
    "a job's model without a cluster": (
        2,
        "model.from names a job of a cluster; outside of one say where its artifact is: --model",
        lambda _: {"model": {"from": {"trainingJob": "digits"}}},
    ),
}

if importlib.util.find_spec("litert_torch") is None:
    TABLE["LiteRT without its packages"] = (
        2,
        "target.runtime litert needs litert_torch, .* which this image does not hold: install slipway",
        lambda _: {"target": {"runtime": "litert"}},
    )


# The others take the same ways through the command.
QUICK = {
    "static without calibration data",
    "a gate without labels",
    "calibration data equal to evaluation data",
    "FP8 on a CPU",
    "a pickle that says it is ONNX",
    "weights outside the model's folder",
    "NaN in the calibration data",
}
# As a shell starts it; the other processes are forked from one that has all imported.
TYPED = "a pickle that says it is ONNX"
ROWS = [row if row in QUICK else pytest.param(row, marks=pytest.mark.slow) for row in TABLE]


@pytest.fixture(scope="module")
def ended(request: pytest.FixtureRequest, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """The process of every row that is asked for, two at a time."""
    files = written(tmp_path_factory.mktemp("files"), digits)

    def run(row: str) -> Ended:
        folder = tmp_path_factory.mktemp("row")
        arguments = ["quantize", "--config", str(jobs.document(folder, digits, **TABLE[row][2](files)))]
        if row != TYPED:
            return processes.done(arguments, folder / "logs")
        command = [sys.executable, "-m", "workloads", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)

    asked = [item.callspec.params["row"] for item in request.session.items if item.path == Path(__file__)]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(asked, pool.map(run, asked), strict=True))


@pytest.mark.parametrize("row", ROWS)
def test_refused_in_words(ended: dict[str, Ended], row: str) -> None:
    code, words, _ = TABLE[row]
    done = ended[row]
    assert done.returncode == code, done.stderr
    assert re.search(words, done.stderr if code else done.stdout), done.stderr
    assert "Traceback" not in done.stderr
    assert code == 0 or done.stderr.startswith("error: ")
