"""The gate of tasks: right answers lost are told by question; what reads well but answers worse is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slipway.api.quantization.evaluation import ChoiceTask
from slipway.api.quantization.gates import Gates
from tests.unit.quantize.language.test_judging import judged
from workloads.errors import BadInput
from workloads.language.layerwise import Layerwise
from workloads.language.text_tokenizer import TextTokenizer
from workloads.language.weights import load
from workloads.quantize import command
from workloads.quantize.language import tasks
from workloads.quantize.language.gates import verdict
from workloads.quantize.language.tasks import Compared

RECORDS = [
    {"question": "The function returns", "choices": ["a list", "zzz qqq"], "answer": 0},
    {"question": "This module provides", "choices": ["@@@@", "the same", "##"], "answer": "B"},
    {"question": "A string is", "choices": ["a sequence", "))((", "]]"], "answer": "a sequence"},
]


def written(place: Path, records: list[dict[str, Any]]) -> ChoiceTask:
    place.write_text("".join(json.dumps(one) + "\n" for one in records))
    return ChoiceTask(name="words", uri=place.as_uri())


def test_an_answer_is_chosen_by_the_sum_of_its_tokens_log_likelihoods(model: Path, tmp_path: Path) -> None:
    listed, tokenizer = tasks.read(written(tmp_path / "t.jsonl", RECORDS)), TextTokenizer(model)
    assert [one.right for one in listed] == [0, 1, 0]
    whole, wanted = load(model), []
    for question in listed:
        values = []
        for choice in question.choices:
            before, ids = (tokenizer.encode(text).ids for text in (question.text, f"{question.text} {choice}"))
            with torch.no_grad():
                told = whole(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            values.append(sum(float(told[at - 1, ids[at]]) for at in range(len(before), len(ids))))
        wanted.append(int(values.index(max(values)) == question.right))
    assert tasks.chosen(Layerwise(model), listed, tokenizer, 512) == wanted
    with pytest.raises(BadInput, match="context 3"):
        tasks.chosen(Layerwise(model), listed, tokenizer, 3)


@pytest.mark.parametrize(
    "bad",
    [
        {"choices": ["one"]},
        {"answer": 7},
        {"answer": True},
        {"choices": ["a", "a"]},
        {"question": ""},
        {"answer": None},
    ],
)
def test_a_record_of_another_form_is_named(bad: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="record 2"):
        tasks.read(written(tmp_path / "t.jsonl", [RECORDS[0], {**RECORDS[1], **bad}]))


def test_a_model_that_reads_as_well_but_answers_worse_is_refused() -> None:
    gates = Gates.model_validate({"tasks": {"maxDrop": 0.02}})
    same = Compared("words", [1] * 300, [1] * 300)
    worse = Compared("words", [1] * 300, [1] * 285 + [0] * 15)
    assert verdict(judged(0.0), 0.2, gates, [same]).passed
    refused = verdict(judged(0.0), 0.2, gates, [same, worse])
    assert not refused.passed
    assert "285 of 300 right, 300 before" in refused.words
    few = Compared("words", [1, 0] * 10, [1, 0] * 9 + [0, 1])  # no drop, but twenty questions cannot show that
    assert not verdict(judged(0.0), 0.2, gates, [few]).passed
    estimate = Gates.model_validate({"tasks": {"maxDrop": 0.02, "evidence": "estimate"}})
    assert verdict(judged(0.0), 0.2, estimate, [few]).passed


def test_a_job_asks_both_models_and_reports_their_answers(
    job: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "t.jsonl", RECORDS)
    path = job(ladder=["rtn-int4"], gates={"perplexity": {"maxIncrease": 0.15}, "tasks": {"maxDrop": 0.5}})
    assert command.main(["--config", str(path)]) == 2
    assert "both or neither" in capsys.readouterr().err
    document = json.loads(path.read_text())
    document["spec"]["evaluation"]["tasks"] = [{"name": "words", "uri": (tmp_path / "t.jsonl").as_uri()}]
    document["spec"]["gates"]["tasks"]["evidence"] = "estimate"
    path.write_text(json.dumps(document))
    assert command.main(["--config", str(path)]) == 0
    report = json.loads((tmp_path / "quantized/report.json").read_text())
    assert report["candidates"][1]["passed"] is True
