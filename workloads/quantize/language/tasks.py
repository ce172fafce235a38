"""Questions with answers to choose from: a model's choice is the answer that it finds the likeliest after the question.

The form is that of lm-evaluation-harness' multiple-choice tasks: the answer follows the question after a blank, its
log-likelihood is the sum over its tokens. Records are JSON lines or Parquet of question, choices and answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slipway.api.quantization.evaluation import ChoiceTask
from workloads import storage
from workloads.data.texts import table
from workloads.errors import BadInput
from workloads.language.text_tokenizer import TextTokenizer
from workloads.quantize.language.judging import Scorer, ratio

MOST = 26  # answers to one question, as letters go


@dataclass(frozen=True)
class Question:
    """A question, the answers to choose from, and which is right."""

    text: str
    choices: list[str]
    right: int


def read(task: ChoiceTask) -> list[Question]:
    """Questions of a task, the first so many. BadInput with the number of a record of another form."""
    root = storage.fetch(task.uri)
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if table.kind_of(path))
    found: list[Question] = []
    for path in files:
        found += [_question(record, f"{path.name}, record {at}") for at, record in enumerate(table.records(path), 1)]
    if len(found) < 2:
        raise BadInput(
            f"evaluation.tasks: {task.name}: {task.uri} holds {len(found)} questions, two are needed at least"
        )
    return found[: task.samples or len(found)]


def _question(record: Mapping[str, Any], where: str) -> Question:
    choices, answer, text = record.get("choices"), record.get("answer"), record.get("question")
    listed = [str(one) for one in choices] if isinstance(choices, (list, tuple)) else []
    if not isinstance(text, str) or not text.strip() or not 2 <= len(listed) <= MOST or len(set(listed)) < len(listed):
        raise BadInput(f"{where}: expected a question and two to {MOST} different choices")
    right = listed.index(answer) if isinstance(answer, str) and answer in listed else answer
    if isinstance(right, str) and len(right) == 1 and right.isalpha():
        right = ord(right.upper()) - ord("A")
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < len(listed):
        raise BadInput(f"{where}: answer {answer!r} is none of the choices: give its number from 0, its letter or text")
    return Question(text, listed, right)


def chosen(model: Scorer, questions: Sequence[Question], tokenizer: TextTokenizer, context: int) -> list[int]:
    """1 for each question whose right answer the model finds the likeliest, else 0.

    BadInput for a question that is longer than the model's context: cut off, it would be another question.
    """
    sequences, starts = [], []
    for number, question in enumerate(questions):
        beginning = len(tokenizer.encode(question.text).ids)
        for choice in question.choices:
            ids = tokenizer.encode(f"{question.text} {choice}").ids
            if len(ids) > context:
                raise BadInput(f"question {number} has {len(ids)} tokens, the model's context {context}")
            sequences.append(torch.tensor([ids]))
            starts.append(max(1, min(beginning, len(ids) - 1)))
    likelihoods = []
    for tokens, start, logits in zip(sequences, starts, model.each(sequences), strict=True):
        told = logits[start - 1 : -1].float().log_softmax(-1)
        likelihoods.append(float(told.gather(1, tokens[0, start:, None]).sum()))
    found, place = [], 0
    for question in questions:
        own = likelihoods[place : place + len(question.choices)]
        best = max(range(len(own)), key=lambda at: own[at] if own[at] == own[at] else -float("inf"))
        found.append(int(best == question.right))
        place += len(own)
    return found


@dataclass(frozen=True)
class Compared:
    """Right answers of both models to the same questions, 1 or 0 each."""

    name: str
    before: list[int]
    after: list[int]

    def drop(self, confidence: float) -> tuple[float, float, float]:
        """Accuracy lost, in points as 0.02, with the ends of its interval, paired by question."""
        lost = [float(was - now) for was, now in zip(self.before, self.after, strict=True)]
        return ratio(lost, [1] * len(lost), confidence)
