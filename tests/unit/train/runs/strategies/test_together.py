"""One GPT-2 in several processes: it takes the path of one process, and what one way has saved another goes on with."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.train.processes import results, train, wait_for
from tests.unit.train.runs.runs import checkpoints, history, run, weights, write
from tests.unit.train.runs.steady import recipe

pytest.importorskip("transformers")

TENSOR, PIPELINE = {"tensorParallel": 2}, {"pipelineParallel": 2}
NAMES = {"tensorParallel": "tensor", "pipelineParallel": "pipeline"}


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def spread(folder: Path, count: int, together: dict[str, int], **changes: Any) -> str:
    """Train it, and see that it was spread as asked for."""
    output = run(folder, "single", count, **recipe(folder, **changes), **together)
    name = next((NAMES[field] for field in together), "single" if count == 1 else "ddp")
    assert f"processes: {count} ({name})" in output
    return output


def _learned(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Without the biases of attention's keys: softmax does not see them, so their gradient is rounding alone, and Adam
    makes whole steps of it.
    """
    return tensor.reshape(3, -1)[::2] if name.endswith("attn.c_attn.bias") else tensor


def agree(one: Path, other: Path, tolerance: float) -> None:
    for before, after in zip(history(one), history(other), strict=True):
        for figure in ("trainingLoss", "loss", "perplexity"):
            assert after[figure] == pytest.approx(before[figure], rel=tolerance), figure
        for figure in ("samples", "tokens"):
            assert after[figure] == before[figure]
    expected, found = weights(one), weights(other)
    assert set(found) == set(expected)
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(_learned(name, tensor), _learned(name, expected[name]), atol=tolerance), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("single")
    spread(folder, 1, {})
    return folder


@pytest.mark.parametrize("together", [TENSOR, PIPELINE])
def test_two_processes_hold_one_model_and_take_the_path_of_one(
    alone: Path, tmp_path: Path, together: dict[str, int]
) -> None:
    spread(tmp_path, 2, together)
    agree(alone, tmp_path, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("together", [TENSOR, PIPELINE])
@pytest.mark.parametrize("optimizer", [{"learningRate": 0.1, "weightDecay": 0.01}, {"name": "adamw"}])
def test_many_micro_batches_and_either_optimizer(
    tmp_path: Path, together: dict[str, int], optimizer: dict[str, Any]
) -> None:
    for folder, count, how in ((tmp_path / "one", 1, {}), (tmp_path / "two", 2, together)):
        spread(folder, count, how, gradientAccumulationSteps=8, optimizer=optimizer)
    agree(tmp_path / "one", tmp_path / "two", 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("together", [TENSOR, PIPELINE])
def test_two_models_of_two_processes_share_the_data(alone: Path, tmp_path: Path, together: dict[str, int]) -> None:
    spread(tmp_path, 4, together)
    agree(alone, tmp_path, 1e-4)


@pytest.mark.slow
def test_a_pipeline_of_three_uneven_stages_and_fewer_parts_than_stages(tmp_path: Path) -> None:
    """Four layers over three stages, the middle one with neither end; two parts go by GPipe's schedule."""
    options: dict[str, Any] = {"model": {"layers": "4"}}
    spread(tmp_path / "one", 1, {}, **options)
    spread(tmp_path / "three", 3, {"pipelineParallel": 3}, **options)
    agree(tmp_path / "one", tmp_path / "three", 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("together", [TENSOR, PIPELINE])
@pytest.mark.parametrize("option", [{"precision": "bf16"}, {"activationCheckpointing": True}, {"labelSmoothing": 0.1}])
def test_options_of_the_recipe(tmp_path: Path, together: dict[str, int], option: dict[str, Any]) -> None:
    spread(tmp_path / "one", 1, {}, **option)
    spread(tmp_path / "two", 2, together, **option)
    one, two = history(tmp_path / "one")[-1], history(tmp_path / "two")[-1]
    assert two["loss"] == pytest.approx(one["loss"], rel=2e-2 if "precision" in option else 1e-4)


@pytest.mark.slow
def test_a_teacher_is_learned_from(tmp_path: Path) -> None:
    """Its answers are asked for where the model's outputs are: on the last stage, or everywhere."""
    model = {"name": "gpt2", "layers": 1, "hiddenSize": 16, "heads": 2}
    run(tmp_path / "teacher", "single", 1, **{**recipe(tmp_path / "teacher"), "model": model})
    taught = {"distillation": {"teacher": {"uri": (tmp_path / "teacher/model").as_uri()}}}
    spread(tmp_path / "one", 1, {}, **taught)
    for together in (TENSOR, PIPELINE):
        folder = tmp_path / next(iter(together))
        spread(folder, 2, together, **taught)
        agree(tmp_path / "one", folder, 1e-4)


def resumed(folder: Path, begin: tuple[int, dict[str, int]], end: tuple[int, dict[str, int]], **changes: Any) -> None:
    """One epoch in one way, the second in another: the checkpoint between them is all that they share."""
    spread(folder, *begin, epochs=2, **changes)
    for newest in checkpoints(folder)[1:]:
        newest.rename(folder / newest.name)
    (kept,) = checkpoints(folder)
    assert int(kept.name.removeprefix("step-")) == 10, "in the middle of the second epoch"
    output = spread(folder, *end, epochs=2, **changes)
    assert f"resumed from step {int(kept.name.removeprefix('step-'))} " in output


ONE: tuple[int, dict[str, int]] = (1, {})


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("longer")
    spread(folder, 1, {}, epochs=2)
    return folder


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ((2, TENSOR), ONE),
        slow((2, PIPELINE), ONE),
        slow(ONE, (2, TENSOR)),
        slow(ONE, (2, PIPELINE)),
        slow((2, TENSOR), (2, PIPELINE)),
        slow((2, PIPELINE), (4, TENSOR)),
        slow((4, TENSOR), (4, PIPELINE)),
    ],
)
def test_a_checkpoint_goes_on_under_another_way(
    longer: Path, tmp_path: Path, begin: tuple[int, dict[str, int]], end: tuple[int, dict[str, int]]
) -> None:
    resumed(tmp_path, begin, end)
    agree(longer, tmp_path, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("together", [TENSOR, PIPELINE])
def test_killed_it_ends_with_the_very_same_weights(tmp_path: Path, together: dict[str, int]) -> None:
    """With the dropout of the published models: what is dropped follows from seed and step alone.

    The short ones: test_a_checkpoint_goes_on_under_another_way, and one process in test_training.py.
    """
    model = {"name": "gpt2", "layers": 2, "hiddenSize": 32, "heads": 2}
    ends = []
    for life, killed in (("undisturbed", False), ("disturbed", True)):
        folder = tmp_path / life
        config = write(folder, "single", every=2, **{**recipe(folder, epochs=2), "model": model}, **together)
        if killed:
            with train(config, 2, folder / "logs") as running:
                wait_for(lambda: len(checkpoints(folder)) == 2, "two checkpoints")  # noqa: B023
                os.kill(running[1].process.pid, signal.SIGKILL)
        with train(config, 2, folder / "logs") as running:
            for one in running:
                assert one.wait() == 0, one.output
            assert ("resumed from step" in running[0].output) == killed
        ends.append(weights(folder))
    before, after = ends
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def held_alike() -> dict[str, Any]:
    """After one step with dropout, on each rank: a parameter that all hold, the random numbers after attention, and
    how many of the numbers of each kind of layer this process holds.
    """
    from slipway.api.training.recipe import Recipe
    from workloads import models
    from workloads.pod.environment import read_place
    from workloads.train.strategies.tensor_parallel import Tensor

    sizes = {"vocabulary": 11, "length": 8, "layers": 2, "hidden": 8, "heads": 2}
    choice = {"model": {"name": "gpt2"}, "dataset": {"name": "text-files", "uri": "file:///x"}, "tensorParallel": 2}
    strategy = Tensor(Recipe.model_validate(choice))
    world = strategy.setup(read_place(os.environ))
    torch.manual_seed(0)
    strategy.wrap(models.build("gpt2", sizes))
    seen: list[int] = []
    for block in strategy.model.transformer.h:
        block.attn.c_proj.register_forward_pre_hook(lambda *_: seen.append(int(torch.randint(2**40, ()))))
    world.seed(1)
    tokens = torch.arange(8)[None].repeat(4, 1)
    strategy.learn([(tokens, tokens)], lambda batch: batch, lambda _in, out, answers: nn.functional.cross_entropy(
        out.flatten(0, 1), answers.flatten()
    ))  # fmt: skip
    strategy.step(0.1)
    parts = {name: one.to_local().numel() / one.numel() for name, one in strategy.model.named_parameters()}
    alike = strategy.model.transformer.ln_f.weight.to_local().tolist()
    world.close()
    return {"alike": alike, "stream": seen, "parts": parts}


def test_all_drop_the_same_of_what_all_hold(tmp_path: Path) -> None:
    """Else the parts of one model would drift apart."""
    first, second = results(held_alike, (), 2, tmp_path)
    assert first["alike"] == second["alike"]
    assert first["alike"] != [1.0] * 8
    assert first["stream"] == second["stream"], "after attention the random numbers go on as before"
    for name in (
        "attn.c_attn.weight",
        "attn.c_attn.bias",
        "attn.c_proj.weight",
        "mlp.c_fc.weight",
        "mlp.c_proj.weight",
    ):
        assert first["parts"][f"transformer.h.1.{name}"] == 0.5, name
    assert first["parts"]["transformer.wte.weight"] + second["parts"]["transformer.wte.weight"] == 1.0
    assert first["parts"]["transformer.ln_f.weight"] == 1.0


@pytest.mark.parametrize(
    ("together", "model", "count", "words"),
    [
        (TENSOR, {"heads": "1"}, 2, "recipe.tensorParallel 2 does not divide the model's 1 heads"),
        ({"pipelineParallel": 4}, {}, 4, "recipe.pipelineParallel 4 is more than the model's 2 layers"),
        (PIPELINE, {}, 3, "3 processes do not divide into groups of 2"),
    ],
)
def test_what_cannot_be_spread_is_refused_in_words(
    tmp_path: Path, together: dict[str, int], model: dict[str, str], count: int, words: str
) -> None:
    config = write(tmp_path, "single", **recipe(tmp_path, model, globalBatchSize=24), **together)
    with train(config, count, tmp_path / "logs") as running:
        for one in running:
            assert one.wait() == 2, one.output
            assert words in one.output
