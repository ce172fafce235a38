"""A command of one's own with output and checkpoint: folders, the artifact that is made of what it leaves, its end."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from slipway.api.training.trainingjob import spec_problems
from slipway.trainingjob import pods
from slipway.trainingjob.gang import TrainingGang
from slipway.trainingjob.payload import onnx_signature, publish
from slipway.trainingjob.user_code import UNFIT_CODE, env
from tests.unit.trainingjob.pods.owncode_pod import run
from tests.unit.trainingjob.rendered import PLATFORM, container_of, job_of, pod_of
from workloads import artifact

OUTPUT = {"output": {"uri": "pvc://models/mine"}}
CHECKPOINT = {"checkpoint": {"uri": "pvc://models/states", "everySteps": 7, "keepLast": 3}}
SIGNATURE = {
    "inputs": [{"name": "input", "dtype": "float32", "shape": ["batch", 4]}],
    "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", 2]}],
}
# No import of ours: what anybody's script would write.
WEIGHTS = """
import json, os, pathlib, torch
from safetensors.torch import save_file
out = pathlib.Path(os.environ["SLIPWAY_OUTPUT_DIR"])
save_file({"fc.weight": torch.ones(2, 4), "fc.bias": torch.zeros(2)}, out / "model.safetensors")
(out / "artifact.json").write_text(json.dumps({"task": "raw", "architecture": {"name": "mine:net"},
    "signature": %s, "metrics": {"accuracy": 0.5}}))
""" % json.dumps(SIGNATURE)  # noqa: UP031


def graph(inputs: list[Any], outputs: list[Any]) -> onnx.ModelProto:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [1.0] * 8)
    node = helper.make_node("MatMul", [inputs[0].name, "w"], [outputs[0].name])
    made = helper.make_model(helper.make_graph([node], "g", inputs, outputs, [weight]))
    made.opset_import[0].version, made.ir_version = 17, 8
    return made


def plain(axis: Any = "N") -> onnx.ModelProto:
    return graph(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [axis, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [axis, 2])],
    )


def played(root: Path, program: str, index: int = 0, attempt: int = 0, **spec: Any) -> tuple[Any, str]:
    """The program on node `index`, run by the very command that the pod has."""
    spec = {"launcher": "plain", **OUTPUT, "trainer": {"command": [sys.executable, "-c", program]}, **spec}
    job = job_of(**spec)
    return run(pod_of(job, index, attempt), pods.config_map(job, PLATFORM)["data"], root)


def test_weights_and_a_short_description_become_an_artifact_that_is_read(tmp_path: Path) -> None:
    done, words = played(tmp_path, WEIGHTS)
    assert done.returncode == 0, done.stderr
    told = json.loads(words)["artifact"]
    assert told["uri"] == "pvc://models/mine"
    assert told["metrics"] == [{"name": "accuracy", "value": "0.5"}]
    stored = artifact.read(tmp_path / "claims/models/mine", told["digest"])
    assert stored.description.parameters == 10
    assert stored.description.lineage.job.name == "j"
    assert [file.path for file in stored.description.files] == ["model.safetensors"]
    assert [path.name for path in (tmp_path / "claims/models").iterdir()] == ["mine"]


@pytest.mark.parametrize("launcher", ["torchrun", "plain"])
def test_a_bare_onnx_file_is_enough(tmp_path: Path, launcher: str) -> None:
    onnx.save(plain(), tmp_path / "made.onnx")
    program = (
        "import os, shutil; "
        f"os.environ.get('RANK', '0') == '0' and shutil.copy({str(tmp_path / 'made.onnx')!r}, "
        "os.environ['SLIPWAY_OUTPUT_DIR'] + '/model.onnx')"
    )
    done, words = played(tmp_path, program, launcher=launcher)
    assert done.returncode == 0, done.stderr
    stored = artifact.read(tmp_path / "claims/models/mine", json.loads(words)["artifact"]["digest"])
    assert stored.description.signature.inputs[0].shape == ["n", 4]
    assert stored.description.architecture.name == "onnx"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("pass", "write model.safetensors or model.onnx"),
        (WEIGHTS.replace('"task": "raw"', '"task": "chess"'), "'chess'"),
        (WEIGHTS.replace('"architecture": {"name": "mine:net"},', ""), "must say architecture"),
        (WEIGHTS.replace("0.5", 'float("nan")'), "metrics"),
        (WEIGHTS + '\n(out / "artifact.json").write_text("{")', "not JSON"),
        (WEIGHTS + '\n(out / "model.safetensors").write_text("{}")', "no safetensors"),
        ("import os; open(os.environ['SLIPWAY_OUTPUT_DIR'] + '/model.onnx', 'wb').write(b'x' * 99)", "no ONNX file"),
    ],
    ids=["nothing", "task", "architecture", "metrics", "json", "safetensors", "onnx"],
)
def test_what_is_no_artifact_is_said_and_not_trained_again(tmp_path: Path, program: str, words: str) -> None:
    done, told = played(tmp_path, program)
    assert done.returncode == UNFIT_CODE
    assert words in done.stderr
    assert told == ""
    assert not (tmp_path / "claims/models/mine").exists()
    gang = TrainingGang(job_of(**OUTPUT), PLATFORM)
    assert UNFIT_CODE in gang.final_exit_codes
    assert UNFIT_CODE not in TrainingGang(job_of(), PLATFORM).final_exit_codes


def test_a_program_that_fails_ends_as_it_did_and_leaves_what_was_there(tmp_path: Path) -> None:
    assert played(tmp_path, WEIGHTS)[0].returncode == 0
    done, words = played(tmp_path, WEIGHTS + "\nraise SystemExit(7)")
    assert (done.returncode, words) == (7, "")
    assert (tmp_path / "claims/models/mine/model.safetensors").is_file()
    killed, _ = played(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert killed.returncode == 137


def test_a_later_attempt_replaces_the_artifact_and_clears_what_earlier_ones_left(tmp_path: Path) -> None:
    assert played(tmp_path, WEIGHTS + "\nraise SystemExit(7)")[0].returncode == 7
    assert played(tmp_path, WEIGHTS, attempt=1)[0].returncode == 0
    assert played(tmp_path, WEIGHTS, attempt=2)[0].returncode == 0
    assert sorted(path.name for path in (tmp_path / "claims/models").iterdir()) == ["mine", "mine.replaced-1"]


def test_only_node_0_publishes_and_every_node_has_the_folders(tmp_path: Path) -> None:
    program = "import os; print(*(os.path.isdir(os.environ[f'SLIPWAY_{n}_DIR']) for n in ('OUTPUT', 'CHECKPOINT')))"
    done, words = played(tmp_path, program, index=1, numNodes=2, **CHECKPOINT)
    assert (done.returncode, done.stdout, words) == (0, "True True\n", "")


def test_checkpoints_alone_need_no_artifact(tmp_path: Path) -> None:
    program = "import os; open(os.environ['SLIPWAY_CHECKPOINT_DIR'] + '/a', 'w').close()"
    job = job_of(launcher="plain", trainer={"command": [sys.executable, "-c", program]}, **CHECKPOINT)
    done, words = run(pod_of(job), pods.config_map(job, PLATFORM)["data"], tmp_path)
    assert (done.returncode, words) == (0, ""), done.stderr
    assert (tmp_path / "claims/models/states/a").exists()
    told = env(job, 0)
    assert (told["SLIPWAY_CHECKPOINT_EVERY_STEPS"], told["SLIPWAY_CHECKPOINT_KEEP_LAST"]) == ("7", "3")


def test_an_output_that_cannot_be_mounted_is_refused_for_commands_of_ones_own() -> None:
    spec = {"trainer": {"image": "x", "command": ["train"]}}
    assert "output.uri of a command" in " ".join(spec_problems("j", {**spec, "output": {"uri": "s3://b/x"}})[1])
    assert not spec_problems("j", {**spec, "output": {"uri": "pvc://c/x"}, **CHECKPOINT})[1]


@pytest.mark.parametrize("launcher", ["torchrun", "plain", "mpirun", "horovodrun", "deepspeed"])
def test_every_launcher_runs_under_it_and_a_job_without_output_does_not(launcher: str) -> None:
    with_ = container_of(job_of(numNodes=2, launcher=launcher, **OUTPUT))["command"]
    without = container_of(job_of(numNodes=2, launcher=launcher))["command"]
    head = ["python3", "/etc/slipway/publish.py", "/mnt/pvc/models/mine", "0"]
    assert (with_[:4], with_[4:]) == (head, without)
    assert "publish.py" not in pods.config_map(job_of(launcher=launcher), PLATFORM)["data"]


def test_signals_reach_the_program(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(33)); "
        "print('up', flush=True); time.sleep(60)"
    )
    file = str(Path(publish.__file__))
    command = [sys.executable, file, "-", "0", sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.terminate()
        assert child.wait(60) == 33


@pytest.mark.parametrize("axis", [3, "batch size", None, "Ünicode"])
def test_the_signature_is_the_one_that_onnx_itself_reads(tmp_path: Path, axis: Any) -> None:
    onnx.save(plain(axis), tmp_path / "model.onnx")
    found = onnx_signature.signature(tmp_path / "model.onnx")
    read = onnx.load(tmp_path / "model.onnx").graph
    assert [spec["name"] for spec in found["inputs"]] == [value.name for value in read.input]  # type: ignore[attr-defined]
    assert [spec["name"] for spec in found["outputs"]] == [value.name for value in read.output]  # type: ignore[attr-defined]
    api = importlib.import_module("slipway.api.common.artifact")
    assert api.Signature.model_validate(found).inputs[0].shape[1] == 4
    assert found["inputs"][0]["shape"][0] in (3, "batch_size", "batch", "axis__nicode", "_nicode")  # type: ignore[index]


def test_a_cut_off_onnx_file_ends_in_words(tmp_path: Path) -> None:
    whole = plain().SerializeToString()
    for size in range(1, len(whole) - 1):
        (tmp_path / "model.onnx").write_bytes(whole[:size])
        try:
            onnx_signature.signature(tmp_path / "model.onnx")
        except (ValueError, IndexError):
            continue


@pytest.mark.parametrize("lead", [True, False])
def test_describe_writes_the_short_description_from_process_0_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lead: bool
) -> None:
    monkeypatch.setenv("SLIPWAY_OUTPUT_DIR", str(tmp_path))
    monkeypatch.setenv("RANK", "0" if lead else "1")
    artifact.describe("image-classification", labels=["a", "b"], metrics={"accuracy": 0.75})
    assert (tmp_path / "artifact.json").is_file() == lead
    if lead:
        said = json.loads((tmp_path / "artifact.json").read_text())
        assert said == {"task": "image-classification", "labels": ["a", "b"], "metrics": {"accuracy": 0.75}}
        with pytest.raises(artifact.BadInput, match="task"):
            artifact.describe("chess")
