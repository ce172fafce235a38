"""Log-probabilities by a torch model: of given tokens, and of greedy answers for probes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workloads.language.probes import Answer, Probe, Probes
from workloads.language.text_tokenizer import TextTokenizer

if TYPE_CHECKING:
    import torch
    from torch import nn

PROMPTS, PROMPT_TOKENS, ANSWER_TOKENS = 8, 24, 12
# For a model of which nobody has given a text.
TEXTS = (
    "The quick brown fox jumps over the lazy dog and",
    "def add(first, second):\n    return",
    "In the beginning of the year, the committee decided that",
    "Water boils at a temperature of",
    "Die Katze sitzt auf dem Dach und",
    "SELECT name, price FROM products WHERE price > 10 ORDER BY",
    "1, 2, 3, 4, 5, 6,",
    "Dear Sir or Madam, I am writing to",
)


def prompts_of(tokenizer: TextTokenizer, texts: Sequence[str], context: int) -> list[list[int]]:
    """Beginnings of the first texts, as many tokens as leave room for an answer in the model's context."""
    room = max(1, min(PROMPT_TOKENS, context - ANSWER_TOKENS))
    found = [tokenizer.encode(text).ids[:room] for text in (*texts[:PROMPTS], *TEXTS)]
    return [ids for ids in found if ids][:PROMPTS]


def beginnings(sequences: Sequence[Sequence[int]], tokenizer: TextTokenizer, context: int) -> list[list[int]]:
    """Beginnings of token sequences, as many tokens as leave room for an answer; of TEXTS where there are too few."""
    room = max(1, min(PROMPT_TOKENS, context - ANSWER_TOKENS))
    found = [list(ids)[: max(1, min(room, len(ids) // 2))] for ids in sequences if ids][:PROMPTS]
    return [*found, *prompts_of(tokenizer, [], context)][:PROMPTS]


def greedy(model: "nn.Module", prompts: Sequence[Sequence[int]], count: int = ANSWER_TOKENS) -> list[Answer]:
    """Greedy answers of `count` tokens with log-probabilities and margins, in float32 without a cache.

    Prompts of one length are computed together; none is ever padded.
    """
    import torch

    was, device = model.training, next(model.parameters()).device
    model.eval()
    found: dict[int, Answer] = {}
    with torch.no_grad():
        for length in sorted({len(prompt) for prompt in prompts}):
            places = [place for place, prompt in enumerate(prompts) if len(prompt) == length]
            ids = torch.tensor([list(prompts[place]) for place in places], device=device)
            values, margins = [], []
            for _ in range(count):
                best = model(input_ids=ids).logits[:, -1].float().log_softmax(-1).topk(2)
                ids = torch.cat([ids, best.indices[:, :1]], dim=1)
                values.append(best.values[:, 0])
                margins.append(best.values[:, 0] - best.values[:, 1])
            rows = zip(ids[:, length:].tolist(), _rows(values), _rows(margins), strict=True)
            found |= {place: Answer(*row) for place, row in zip(places, rows, strict=True)}
    model.train(was)
    return [found[place] for place in range(len(prompts))]


def _rows(columns: "list[torch.Tensor]") -> list[list[float]]:
    import torch

    return [[round(value, 6) for value in row] for row in torch.stack(columns, dim=1).tolist()]


def measured(model: "nn.Module", prompts: Sequence[Sequence[int]], base: "nn.Module | None" = None) -> Probes:
    """Probes of a model by torch. `base`: of an adapter's, the model without it."""
    import torch

    answers = greedy(model, prompts)
    bases: list[Answer | None] = [None] * len(prompts) if base is None else [*greedy(base, prompts)]
    listed = [Probe(list(one), answer, of) for one, answer, of in zip(prompts, answers, bases, strict=True)]
    return Probes({"engine": "torch", "version": torch.__version__, "precision": "float32"}, listed)
