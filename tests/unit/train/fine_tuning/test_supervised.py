"""What is learned of chats and prompts is what the model shall say, to its end token; the rest is counted."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from slipway.api.common.sources import DatasetChoice
from tests.models.language import small
from tests.unit.train.fine_tuning.tuning import chats, lines
from workloads import data
from workloads.data.texts.packing import IGNORED
from workloads.data.texts.supervised import SupervisedSet
from workloads.errors import BadInput
from workloads.language.text_tokenizer import TextTokenizer
from workloads.train.tasks.supervised import Supervised
from workloads.train.world import World


def opened(folder: Path, records: list[dict[str, Any]], **more: Any) -> SupervisedSet:
    choice = DatasetChoice.model_validate({"name": "sft", "uri": lines(folder / "x.jsonl", records), **more})
    found = data.open_set(choice.model_copy(update={"tokenizer": small.folder().as_uri()}))
    assert isinstance(found, SupervisedSet)
    return found


def learned(found: SupervisedSet, index: int = 0) -> str:
    """The learned tokens of a sample as text."""
    _, targets = found.training.batch([index])
    return TextTokenizer(small.folder()).decode([one for one in targets[0] if one != IGNORED], special=True)


def test_of_a_chat_the_assistants_words_and_their_end_are_learned(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello there"}]
    again = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "more"}]
    records = [{"messages": [*turns, *again]}, {"messages": [*again, *turns]}]
    again = [{**again[0], "content": "two"}, again[1]]
    found = opened(tmp_path, [*records, {"messages": [*turns, *again]}])
    assert sorted(learned(found).split("<|endoftext|>")) == ["", "hello there", "more"]
    assert "hi<|endoftext|>" in learned(opened(tmp_path, records, loss="all"))


def test_a_template_that_marks_answers_is_believed(tmp_path: Path) -> None:
    marked = "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"  # noqa: E501
    found = opened(tmp_path, chats(1), chatTemplate=marked)
    assert learned(found).startswith("the capital of")


def test_a_template_that_rewrites_what_was_said_is_refused_in_words(tmp_path: Path) -> None:
    rewriting = "{% for m in messages %}{{ loop.revindex }} {{ m.content }}{% endfor %}"
    with pytest.raises(BadInput, match=r"\{% generation %\}"):
        opened(tmp_path, chats(1), chatTemplate=rewriting)


def test_of_a_prompt_nothing_and_of_a_text_all_is_learned(tmp_path: Path) -> None:
    pairs = [{"prompt": f"question {number}:", "completion": " yes"} for number in range(4)]
    assert learned(opened(tmp_path, pairs)) == " yes<|endoftext|>"
    assert "stion" in learned(opened(tmp_path, pairs, loss="all"))
    texts = opened(tmp_path, [{"text": f"text {number} ends"} for number in range(4)])
    assert learned(texts).endswith("ends<|endoftext|>")


def test_what_is_cut_off_is_counted_and_nothing_left_to_learn_is_refused(tmp_path: Path) -> None:
    records = [{"prompt": "long " * 40 + str(number), "completion": "yes"} for number in range(9)]
    short = [{"prompt": f"{number}", "completion": "yes"} for number in range(20)]
    found = opened(tmp_path, records + short, maxLength=16)
    assert found.counts.truncated == found.counts.unlabelled > 0
    assert 0 < found.counts.share < 1
    with pytest.raises(BadInput, match="NothingToLearn"):
        opened(tmp_path, records, maxLength=16)


def test_the_same_record_is_never_trained_on_and_held_out(tmp_path: Path) -> None:
    records = [{"text": f"text number {number % 7} of seven"} for number in range(70)]
    found = opened(tmp_path, records)
    sides = [
        {tuple(part.batch([index])[0][0, 0].tolist()) for index in range(len(part))}
        for part in (found.training, found.held_out)
    ]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("records", "more", "words"),
    [
        ([{"txt": "a"}, {"txt": "b"}], {}, "expected text, messages"),
        ([{"messages": "hi"}, {"messages": "ho"}], {}, "must be a list"),
        ([{"messages": [{"role": "user"}]}, {"messages": [{"role": "x"}]}], {}, "role and content"),
        ([{"prompt": "a", "completion": 1}, {"prompt": "b", "completion": 2}], {}, "must be text"),
        ([{"text": ""}, {"text": "a"}], {"format": "text"}, "has no text"),
        ([{"text": "a"}, {"text": "b"}], {"loss": "assistant"}, "does not fit"),
        (chats(1), {"chatTemplate": "{% for i in range(99999) %}{{ 'a' * 999 }}{% endfor %}"}, "more than"),
    ],
)
def test_records_that_are_none_are_refused_with_their_number(
    records: list[dict[str, Any]], more: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=words):
        opened(tmp_path, records, **more)


def test_a_model_without_a_chat_template_says_so(tmp_path: Path) -> None:
    shutil.copytree(small.folder(), tmp_path / "m")
    (tmp_path / "m/chat_template.jinja").unlink()
    choice = DatasetChoice.model_validate({"name": "sft", "uri": lines(tmp_path / "x.jsonl", chats(1))})
    with pytest.raises(BadInput, match="chatTemplate"):
        data.open_set(choice.model_copy(update={"tokenizer": (tmp_path / "m").as_uri()}))


def test_a_steps_loss_is_the_mean_over_its_tokens_however_it_is_divided(tmp_path: Path) -> None:
    found = opened(tmp_path, chats(2))
    task, world = Supervised(found, 0.0), World.__new__(World)
    world.size, world.rank, world.together = 1, 0, 1
    generator = torch.Generator().manual_seed(0)
    batches = [tuple(map(torch.from_numpy, found.training.batch(part))) for part in ([0, 5], [1, 12])]
    outputs = [torch.randn(*targets.shape, 512, generator=generator) for _, targets in batches]
    task.begin(batches, world)
    parts = [task.loss(out, targets) for out, (_, targets) in zip(outputs, batches, strict=True)]
    tokens = sum(int((targets != IGNORED).sum()) for _, targets in batches)
    total = sum(
        torch.nn.functional.cross_entropy(out.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        for out, (_, targets) in zip(outputs, batches, strict=True)
    )
    assert abs(float(sum(parts) / 2 - total / tokens)) < 1e-6
    assert len({int((targets != IGNORED).sum()) for _, targets in batches}) == 2
    nothing = (batches[0][0], torch.full_like(batches[0][1], IGNORED))
    task.begin([nothing], world)
    assert float(task.loss(outputs[0], nothing[1])) == 0.0
