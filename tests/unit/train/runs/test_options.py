"""Options for speed and memory change how a step is computed and not what it computes; what a run leaves for people."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slipway.api.training.recipe import Recipe
from tests.unit.train.processes import ROOT
from tests.unit.train.runs.runs import history, run, write
from tests.unit.train.runs.strategies.test_equivalence import agree
from workloads import models
from workloads.measure.charts import Axis, lines
from workloads.models import Images
from workloads.models.from_artifact import load_model
from workloads.train.performance_options import blocks, prepare
from workloads.train.results.html_report import Content, page


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"model": {"name": "cnn"}, "dataset": {"name": "digits"}, **fields})


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name, models.arguments_for(name, Images(3, 32, 32, 4), 8))


@pytest.mark.parametrize(("name", "count"), [("cnn", 0), ("resnet18", 8), ("resnet50", 16), ("mobilenetv2", 19)])
def test_blocks(name: str, count: int) -> None:
    assert len(blocks(made(name))) == count


@pytest.mark.parametrize("option", ["activation_checkpointing", "channels_last"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_a_step_is_the_same(name: str, option: str) -> None:
    plain, changed = made(name).double(), prepare(made(name).double(), recipe(**{option: True}))
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    for model in (plain, changed):
        torch.manual_seed(5)
        model(images).square().sum().backward()
    for (one, before), (other, after) in zip(plain.named_parameters(), changed.named_parameters(), strict=True):
        assert one == other
        assert before.grad is not None
        assert after.grad is not None
        assert torch.allclose(before.grad, after.grad, atol=1e-8, rtol=1e-6)
    for name_, buffer in plain.named_buffers():
        assert torch.allclose(buffer.float(), dict(changed.named_buffers())[name_].float(), atol=1e-5)


def test_recomputing_keeps_less() -> None:
    kept: dict[bool, int] = {}
    for recompute in (False, True):
        model = prepare(made("resnet18"), recipe(activation_checkpointing=recompute))
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.nbytes) or x, lambda x: x):  # type: ignore[func-returns-value] # noqa: B023
            model(torch.randn(4, 3, 32, 32)).sum()
        kept[recompute] = sum(sizes)
    assert kept[True] < 0.5 * kept[False]


def test_a_run_with_everything(tmp_path: Path) -> None:
    """Two processes; the same figures as one without any option."""
    run(tmp_path / "plain", "single", 1, epochs=2)
    options = {"channelsLast": True, "profile": {"firstStep": 3, "steps": 2}}
    run(tmp_path / "all", "ddp", 2, epochs=2, **options)
    agree(tmp_path / "plain", tmp_path / "all", 2e-3)
    model = tmp_path / "all/model"
    trace = json.loads((model / "trace.json").read_text())
    assert any("conv" in event.get("name", "") for event in trace["traceEvents"])
    rows = history(tmp_path / "all")
    assert all(row["samplesPerSecond"] > 0 and row["peakMemoryBytes"] > 50 << 20 for row in rows)
    curve = [json.loads(line) for line in (model / "curve.jsonl").read_text().splitlines()]
    assert [point["step"] for point in curve] == list(range(1, 21))
    load_model(model)  # digests of all files
    html = (model / "report.html").read_text()
    assert html.count("<svg") >= 4
    assert html.count("data:image/png;base64") == 12
    assert "optimizer.learningRate" in html
    check(html)


LEADING = {"src", "href", "xlink:href"}
EMPTY = {"meta", "img", "path", "use"}


def check(html: str) -> None:
    """Well-formed, and nothing is fetched from anywhere."""
    opened: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"script", "link", "iframe"}
            assert all((value or "").startswith(("data:", "#")) for name, value in attrs if name in LEADING)
            if tag not in EMPTY:
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in EMPTY:
                assert opened.pop() == tag

    Checker().feed(html)
    assert opened == []


def test_a_page_of_hostile_names_and_missing_figures() -> None:
    rows = [{"epoch": 1, "step": 10, "loss": 0.5, "trainingLoss": None}, {"epoch": 2, "step": 20, "loss": 0.5}]
    curve = [(1, float("nan")), (2, 1.0), (3, 0.5)]
    html = page(Content("<script>alert(1)</script>", "", "", {"model": "a&b"}, {}, {}, rows, curve))
    assert "<script>" not in html
    assert "a&amp;b" in html
    check(html)
    assert lines({"one point": [(1, 1.0)]}, Axis("step"), Axis("loss, nats")) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "count"), [("single", 1), ("fsdp2", 2)])
def test_compiled(tmp_path: Path, strategy: str, count: int) -> None:
    """In processes of their own: the compiler starts workers, which a process forked from a server cannot."""
    run(tmp_path / "plain", "single", 1, epochs=1)
    config = write(tmp_path / "compiled", strategy, epochs=1, compile=True)
    launch = ["-m", "workloads", "torchrun", "--standalone", f"--nproc-per-node={count}", "--no-python", sys.executable]
    command = [sys.executable, *launch, "-m", "workloads", "train", "--config", str(config)]
    subprocess.run(command, check=True, timeout=500, cwd=ROOT)
    agree(tmp_path / "plain", tmp_path / "compiled", 2e-3)


def test_gradients_travel_as_fp16(tmp_path: Path) -> None:
    run(tmp_path / "plain", "ddp", 2, epochs=1)
    run(tmp_path / "half", "ddp", 2, epochs=1, gradientCompression="fp16")
    exact, half = history(tmp_path / "plain")[0], history(tmp_path / "half")[0]
    assert half["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert half["loss"] != exact["loss"]
