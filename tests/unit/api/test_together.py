"""One model in several processes: what the recipe may ask for, and which batches fit."""

from typing import Any

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.processes import batch_problems
from slipway.api.training.trainingjob import spec_problems
from tests.unit.api.admission import Admission
from tests.unit.api.manifests import BUILT_IN, Wrong, merged

ADMISSION = Admission(trainingjob.KIND)
TEXT = {"name": "text-files", "uri": "pvc://data/text"}
GPT2: dict[str, Any] = merged(
    BUILT_IN,
    {
        "numNodes": 2,
        "numProcPerNode": 2,
        "recipe": {"model": {"name": "gpt2"}, "dataset": TEXT, "globalBatchSize": 8, "tensorParallel": 4},
    },
)


def wrong(name: str, changes: dict[str, Any], words: str) -> Wrong:
    return Wrong(name, changes, words, "cel", GPT2)


WRONG = [
    wrong("both ways", {"recipe": {"pipelineParallel": 2}}, "leave one of them at 1"),
    wrong("pictures", {"recipe": {"model": {"name": "resnet18"}}}, "for models of the GPT-2 family"),
    wrong("fp16", {"recipe": {"precision": "fp16"}}, "precision fp32 or bf16"),
    wrong("compiled", {"recipe": {"compile": True}}, "without compile"),
    wrong("compressed", {"recipe": {"compression": [{"method": "low-rank", "energy": 0.9}]}}, "the whole model"),
    wrong("strategy", {"strategy": {"name": "FSDP2"}}, "remove strategy"),
    wrong("deepspeed", {"launcher": "deepspeed"}, "use torchrun or mpirun"),
    wrong("horovod", {"launcher": "horovodrun"}, "use torchrun or mpirun"),
    wrong("batch", {"recipe": {"gradientAccumulationSteps": 3}}, "globalBatchSize must be a multiple"),
]


def test_four_processes_may_share_a_batch_that_four_would_not_divide() -> None:
    spec = merged(GPT2, {"recipe": {"globalBatchSize": 2}})
    parsed, problems = spec_problems("gpt2", spec)
    assert problems == []
    assert parsed is not None
    assert batch_problems(parsed, 2) == []
    assert (
        "3 accumulation steps"
        in batch_problems(
            parsed.model_copy(update={"recipe": parsed.recipe.model_copy(update={"gradient_accumulation_steps": 3})}), 2
        )[0]
    )  # type: ignore[union-attr]


@pytest.mark.parametrize("each", [1, 3])
def test_processes_must_divide_into_whole_models(each: int) -> None:
    parsed, _ = spec_problems("gpt2", GPT2)
    assert parsed is not None
    (problem,) = batch_problems(parsed, each)
    assert f"{2 * each} processes do not divide into groups of 4" in problem


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_admission_and_the_operator_refuse_it_in_the_same_words(case: Wrong) -> None:
    _, problems = spec_problems(case.job_name, case.spec)
    assert case.words in "; ".join(problems)
    assert ADMISSION.structural(case.manifest) == []
    assert case.words in "; ".join(ADMISSION.cel(case.manifest))
