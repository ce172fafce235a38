"""FLOPs, MFU and communication are the figures that their definitions give, and are absent where nobody knows them."""

import json
import os
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from slipway.api.training.recipe import Precision
from tests.unit.train import processes
from workloads import models
from workloads.pod.environment import Place, read_place
from workloads.train.results.html_report import Content, page
from workloads.train.telemetry import device_flops, training_flops
from workloads.train.telemetry.throughput import ThroughputMeter, Work
from workloads.train.telemetry.tracing import Tracing, covered
from workloads.train.world import World

LATE = 0.15  # seconds


def test_flops_of_a_cnn_by_hand() -> None:
    model = models.build("cnn", models.arguments_for("cnn", models.Images(1, 8, 8, 10), 4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # Two convolutions of 3x3 with a pooling between, and two linear layers: 1 -> 4 on 8x8, 4 -> 8 on 4x4.
    forward = 2 * (4 * 9 * 64 + 8 * 4 * 9 * 16 + 8 * 16 * 16 + 16 * 10)
    assert training_flops.of_sample(model, torch.zeros(2, 1, 8, 8)) == 3 * forward
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_flops_of_published_models_are_the_published_ones() -> None:
    """ResNet-18 and MobileNetV2 at 224 pixels: 1.81 and 0.30 billion multiplications (He 2016, Sandler 2018)."""
    for name, multiplications in (("resnet18", 1.81e9), ("mobilenetv2", 0.30e9)):
        model = models.build(name, models.arguments_for(name, models.Images(3, 224, 224, 1000), 32))
        found = training_flops.of_sample(model, torch.zeros(2, 3, 224, 224)) or 0
        assert found == pytest.approx(6 * multiplications, rel=0.02)
        assert all(buffer.float().abs().max() <= 1 for buffer in model.buffers())  # no statistics were taken


def test_flops_of_a_language_model_are_six_for_each_parameter_and_token() -> None:
    """Kaplan 2020, table 1: 6 N, and 12 for each layer, width and token looked at; the whole square is computed."""
    pytest.importorskip("transformers")
    layers, hidden, length, words = 2, 64, 32, 257
    sizes = {"layers": layers, "hidden": hidden, "heads": 4}
    model = models.build("gpt2", {"vocabulary": words, "length": length, **sizes})
    per_token = 6 * (12 * layers * hidden**2 + words * hidden) + 12 * layers * hidden * length
    found = training_flops.of_sample(model, torch.zeros(2, length, dtype=torch.int64))
    assert found == length * per_token


class Curious(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.T if x.sum() > 0 else x


class Parametrised(Curious):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


def test_a_model_that_looks_at_its_numbers_has_no_figure() -> None:
    assert training_flops.of_sample(Parametrised(), torch.zeros(2, 2)) is None


@pytest.mark.parametrize(
    ("name", "precision", "teraflops"),
    [
        ("NVIDIA A100-SXM4-80GB", Precision.BF16, 312),
        ("NVIDIA A100 80GB PCIe", Precision.FP32, 156),
        ("NVIDIA H100 80GB HBM3", Precision.FP16, 989.5),
        ("NVIDIA H100 PCIe", Precision.BF16, 756.5),
        ("NVIDIA H100 NVL", Precision.BF16, 835.5),
        ("NVIDIA H200", Precision.BF16, 989.5),
        ("NVIDIA L40S", Precision.BF16, 362.05),
        ("NVIDIA L4", Precision.FP16, 121),
        ("Tesla T4", Precision.FP16, 65),
        ("Tesla V100-SXM2-16GB", Precision.FP32, 15.7),
        ("NVIDIA A10G", Precision.FP16, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", Precision.BF16, None),
        ("NVIDIA GeForce RTX 4090", Precision.BF16, None),
    ],
)
def test_a_peak_is_that_of_the_datasheet_or_none(name: str, precision: Precision, teraflops: float | None) -> None:
    assert device_flops.of_name(name, precision) == (None if teraflops is None else pytest.approx(teraflops * 1e12))


def test_mfu_is_the_share_of_the_peak() -> None:
    world = World(Place(0, 1, 0, 1))
    meter = ThroughputMeter(10, Work(tokens=16, flops=3_000_000, peak=1e9))
    for step in range(1, 11):
        meter.step(step, torch.tensor(0.0))
    found = meter.figures(world, 4, None)
    assert found["tokensPerSecond"] == pytest.approx(16 * found["samplesPerSecond"], rel=1e-3)
    assert found["flopsPerSecond"] == pytest.approx(3e6 * found["samplesPerSecond"], rel=1e-3)
    assert found["mfu"] == pytest.approx(found["flopsPerSecond"] / 1e9, rel=1e-2)
    assert "communicationShare" not in found
    unknown = ThroughputMeter(10, Work(flops=3_000_000)).figures(world, 4, None)
    assert "mfu" not in unknown
    assert "tokensPerSecond" not in unknown


def test_spans_side_by_side_count_once() -> None:
    assert covered([]) == 0
    assert covered([(5, 9), (0, 2), (6, 7), (8, 12), (20, 21)]) == 2 + 7 + 1


def steps_with_a_late_process() -> dict[str, float | None]:
    """Each step exchanges once; the second process comes late to it."""
    world = World(read_place(os.environ))
    tracing = Tracing(None, world)
    for step in range(9):
        world.barrier()
        agreement = world.any(False)
        tracing.before(step)
        time.sleep(0.01 if world.first else LATE)
        dist.all_reduce(torch.zeros(1000))
        agreement.result()
        tracing.after(step)
    figures = ThroughputMeter(9, Work()).figures(world, 1, tracing.share)
    world.close()
    return {"own": tracing.share, "mean": figures["communicationShare"]}


def test_the_share_of_communication_is_the_time_under_way(tmp_path: Path) -> None:
    """Who comes first waits in the exchange, who comes late does not; the vote beside the step does not count."""
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        first, second = processes.results(steps_with_a_late_process, (), 2, folder)
        assert first["mean"] == second["mean"] == pytest.approx((first["own"] + second["own"]) / 2, abs=1e-3)
        assert "USDT" not in (folder / "rank-0.log").read_text()
        # The late one waits, too, where the machine lets the other one wait for a core.
        if first["own"] > 0.6 and second["own"] < 0.3:
            return
    pytest.fail(f"at its best: {first}, {second}")


def test_a_run_of_two_processes_says_its_share(tmp_path: Path, job_file) -> None:
    with processes.train(job_file(epochs=1), 2, tmp_path / "logs") as running:
        codes = [one.wait() for one in running]
    words = running[0].output
    assert codes == [0, 0], words
    (row,) = map(json.loads, (tmp_path / "model/metrics.jsonl").read_text().splitlines())
    assert 0 < row["communicationShare"] < 1
    assert row["flopsPerSecond"] > 0
    assert "mfu" not in row  # nobody knows the peak of this CPU
    assert f"communication {row['communicationShare']:.1%}" in words
    assert "communication, %</th>" in (tmp_path / "model/report.html").read_text()


def test_the_report_shows_what_is_known() -> None:
    rows = [{"epoch": 1, "step": 1, "samplesPerSecond": 5.0, "mfu": 0.41}, {"epoch": 2, "step": 2, "mfu": 0.42}]
    html = page(Content("t", "2026-01-01", "", {}, {}, {}, rows, []))
    assert "MFU, %</th>" in html
    assert '<td class="n">42</td>' in html
    assert "tokens/s" not in html
