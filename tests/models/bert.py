"""MiniLM's encoder and its tokens in plain torch and Python: weights and vocabulary are the package's.

The encoder is BERT's (Devlin et al. 2018), the tokens are its WordPiece: the longest known piece first.
"""

import math
import re
import unicodedata
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WIDTH, HEADS, LAYERS = 384, 12, 6
LONGEST_WORD = 100


class Tokens:
    """Text to numbers of the vocabulary."""

    def __init__(self, vocabulary: Path) -> None:
        self.numbers = {piece: number for number, piece in enumerate(vocabulary.read_text().splitlines())}

    def __call__(self, text: str, most: int) -> list[int]:
        """At most `most` numbers, with those that begin and end a text."""
        flat = unicodedata.normalize("NFD", text.lower())
        plain = "".join(letter for letter in flat if unicodedata.category(letter) != "Mn")
        found = [number for word in re.findall(r"\w+|[^\w\s]", plain) for number in self._pieces(word)]
        return [self.numbers["[CLS]"], *found[: most - 2], self.numbers["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        found, start = [], 0
        while start < len(word) <= LONGEST_WORD:
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.numbers), None)
            if end is None:
                return [self.numbers["[UNK]"]]
            found.append(self.numbers[mark + word[start:end]])
            start = end
        return found or [self.numbers["[UNK]"]]


class Layer(nn.Module):
    """Self-attention and two products, each with its residual and normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mixed, self.wide, self.narrow = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1536), nn.Linear(1536, WIDTH)
        self.first, self.second = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor, closed: Tensor) -> Tensor:
        """`closed` [batch, 1, 1, length] is added to the scores: very negative where there is no token."""
        q, k, v = (part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(WIDTH / HEADS) + closed
        x = self.first(x + self.mixed((scores.softmax(-1) @ v).transpose(1, 2).flatten(2)))
        return self.second(x + self.narrow(nn.functional.gelu(self.wide(x))))


class Classifier(nn.Module):
    """Mean of the encoder's vectors, and a linear layer: ids and mask [batch, length] to scores [batch, classes]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(30522, WIDTH), nn.Embedding(512, WIDTH)
        self.kinds, self.normal = nn.Embedding(2, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.last = nn.Linear(WIDTH, classes)

    def vectors(self, ids: Tensor, mask: Tensor) -> Tensor:
        """One vector [384] for each text."""
        known = mask.to(torch.float32)
        x = self.normal(self.words(ids) + self.kinds.weight[0] + self.places(torch.arange(ids.shape[1])))
        closed = (1 - known)[:, None, None, :] * -1e4
        for layer in self.layers:
            x = layer(x, closed)
        return (x * known[:, :, None]).sum(1) / known.sum(1, keepdim=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Scores."""
        return self.last(self.vectors(ids, mask))

    def load(self, path: Path) -> None:
        """The encoder's weights under the names they were published with."""
        given = load_file(path)
        names = {
            "embeddings.word_embeddings": "words",
            "embeddings.position_embeddings": "places",
            "embeddings.token_type_embeddings": "kinds",
            "embeddings.LayerNorm": "normal",
        }
        inner = {
            "attention.self.query": "query",
            "attention.self.key": "key",
            "attention.self.value": "value",
            "attention.output.dense": "mixed",
            "attention.output.LayerNorm": "first",
            "intermediate.dense": "wide",
            "output.dense": "narrow",
            "output.LayerNorm": "second",
        }
        for number in range(LAYERS):
            names |= {f"encoder.layer.{number}.{theirs}": f"layers.{number}.{ours}" for theirs, ours in inner.items()}
        state = {}
        for theirs, ours in names.items():
            for kind in ("weight", "bias"):
                if f"{theirs}.{kind}" in given:
                    state[f"{ours}.{kind}"] = given[f"{theirs}.{kind}"]
        missing, unexpected = self.load_state_dict(state, strict=False)
        if unexpected or set(missing) != {"last.weight", "last.bias"}:
            raise RuntimeError(f"{path}: missing {missing}, unexpected {unexpected}")
