"""A language model that is computed a layer at a time, from its files: memory holds one layer and the activations.

So a model larger than memory is judged and quantized.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from workloads.errors import BadInput
from workloads.language import float8, linear
from workloads.language.config import checked
from workloads.language.packed import opened
from workloads.language.weights import empty, matched


class Names(NamedTuple):
    """Places of a family's parts: embeddings of tokens and positions, layers, last normalisation."""

    embedding: str = "model.embed_tokens.weight"
    places: str = ""
    layers: str = "model.layers"
    norm: str = "model.norm"


FAMILIES = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), Names()),
    "gpt2": Names("transformer.wte.weight", "transformer.wpe.weight", "transformer.h", "transformer.ln_f"),
}


class Answered(NamedTuple):
    """Outputs of a model, as transformers names them."""

    logits: torch.Tensor


class Layerwise(nn.Module):
    """Logits of token numbers, each layer read from the files when it is its turn. No gradients."""

    def __init__(self, folder: Path) -> None:
        """BadInput for another family, or weights of another model."""
        super().__init__()
        frame: Any = empty(folder)
        if frame.config.model_type not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise BadInput(f"{folder}: a {frame.config.model_type} cannot be computed layer by layer: {known} can")
        self._where = FAMILIES[frame.config.model_type]
        self._frame = [frame]  # in a list: none of its parameters are this module's
        self.config: Any = frame.config
        self._tensors = opened(folder)
        self._names = {own: name for name, own in matched(frame, self._tensors).items()}
        said = checked(folder)
        self._ignored = list(said["quantization_config"]["ignore"]) if float8.is_float8(said) else None
        self.count = int(self.config.num_hidden_layers)
        where = self._where
        self.embedding: nn.Embedding = self._table(where.embedding)
        self._places = self._table(where.places) if where.places else None
        self._rotary: Any = None if where.places else type(frame.model.rotary_emb)(self.config)
        self.norm: nn.Module = self._filled(frame.get_submodule(where.norm), f"{where.norm}.")

    def _table(self, name: str) -> nn.Embedding:
        return nn.Embedding.from_pretrained(self._read(name))  # type: ignore[no-untyped-call,no-any-return]

    def _read(self, name: str) -> torch.Tensor:
        tensor = self._tensors.tensor(self._names[name])
        return tensor.float() if tensor.is_floating_point() else tensor

    def _filled(self, module: nn.Module, prefix: str) -> nn.Module:
        """A module of the frame with its weights; the frame keeps none."""
        names = [name for name, _ in module.named_parameters()]
        made = copy.deepcopy(module)  # without memory, so it costs nothing
        for name in names:
            place, _, last = name.rpartition(".")
            made.get_submodule(place)._parameters[last] = nn.Parameter(self._read(prefix + name), requires_grad=False)
        return made.eval()

    def layer(self, number: int) -> nn.Module:
        """A decoder layer with its weights, in memory of its own."""
        frame: Any = self._frame[0]
        made = self._filled(frame.get_submodule(self._where.layers)[number], self.prefix(number))
        if self._ignored is not None:
            float8.round_inputs(made, self.prefix(number), self._ignored)
        return made

    def prefix(self, number: int) -> str:
        """Beginning of a layer's names."""
        return f"{self._where.layers}.{number}."

    def linear_names(self) -> list[str]:
        """Names of all linear layers, the output layer's among them."""
        return [name for name, _ in linear.parts(self._frame[0])]

    @property
    def swapped(self) -> bool:
        """Tell whether matrices are kept as [inputs, outputs]."""
        return any(linear.is_swapped(part) for _, part in linear.parts(self._frame[0]))

    def head(self) -> torch.Tensor:
        """The output layer's matrix; of tied models the embedding's."""
        name = "lm_head.weight"
        return self._read(name) if name in self._names else self.embedding.weight

    def plain(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Tensors outside of the layers by the files' names."""
        for own, name in self._names.items():
            if not own.startswith(f"{self._where.layers}."):
                yield name, self._tensors.tensor(name)

    def name_in_file(self, own: str) -> str:
        """A tensor's name in the files."""
        return self._names[own]

    @torch.no_grad()
    def begin(self, texts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Input of the first layer, of int64 [n, length] each."""
        found = [self.embedding(ids) for ids in texts]
        if self._places is None:
            return found
        return [one + self._places(torch.arange(one.shape[1]))[None] for one in found]

    @torch.no_grad()
    def through(self, layer: nn.Module, hidden: list[torch.Tensor]) -> list[torch.Tensor]:
        """A layer's outputs, [n, length, width] each, text by text."""
        found = []
        for one in hidden:
            more = {}
            if self._rotary is not None:
                places = torch.arange(one.shape[1])[None]
                more = {"position_ids": places, "position_embeddings": self._rotary(one, places)}
            made = layer(one, attention_mask=None, **more)
            found.append(made[0] if isinstance(made, tuple) else made)
        return found

    @torch.no_grad()
    def last(self, texts: Sequence[torch.Tensor], seen: Callable[[int], None] = lambda _: None) -> list[torch.Tensor]:
        """Input of the output layer for each text; every layer is read once. `seen` is called after each."""
        hidden = self.begin(texts)
        for number in range(self.count):
            hidden = self.through(self.layer(number), hidden)
            seen(number)
        return [self.norm(one) for one in hidden]

    @torch.no_grad()
    def each(self, documents: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Logits [length, vocabulary] of each document, int64 [1, length]; every layer is read once."""
        head = self.head().t()
        for hidden in self.last(documents):
            yield hidden[0] @ head

    @torch.no_grad()
    def forward(self, input_ids: torch.Tensor) -> Answered:
        """Logits [n, length, vocabulary] of int64 [n, length]."""
        return Answered(self.last([input_ids])[0] @ self.head().t())
