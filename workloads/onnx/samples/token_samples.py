"""Samples of a text data set: token numbers, and the mask and types that go with them, by the model's inputs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import TextProcessing
from workloads.data.texts.text import LabelledTexts, TextSet
from workloads.errors import BadInput
from workloads.onnx.feeds import Batch
from workloads.onnx.file import Port

if TYPE_CHECKING:
    import numpy.typing as npt

TOKENS = "input_ids"
MASKS = frozenset({"attention_mask", "input_mask", "mask"})
TYPES = frozenset({"token_type_ids", "segment_ids"})
PLACES = frozenset({"position_ids"})


class TokenSamples:
    """Texts of one length, filled up; `labels` are classes of texts, or of each next token."""

    labelled, whole = True, False
    classes = 0

    def __init__(self, found: TextSet, ports: Sequence[Port], how: TextProcessing | None, *, held_out: bool) -> None:
        part, word = (found.held_out, "held-out") if held_out else (found.training, "training")
        self._part, self._ports, self._how = part, list(ports), how
        self._padding = found.tokenizer.end if how is None else how.padding_token
        self._filled = isinstance(getattr(part, "whole", part), LabelledTexts)
        self.name = f"{found.reference.name} ({word})"
        self.digest = f"{found.reference.digest}/{word}"
        tokens = _tokens(self._ports, how)
        wanted = tokens.shape[1] if len(tokens.shape) == 2 else found.length
        if len(tokens.shape) != 2 or wanted not in {None, found.length}:
            raise BadInput(
                f"{self.name}: texts of {found.length} tokens, the model takes {tokens.name} {tokens.shape}: "
                "set dataset.sequenceLength"
            )

    def __len__(self) -> int:
        return len(self._part)

    def weight(self, _index: int) -> int:
        """Equal weight of 1, since all texts have one length."""
        return 1

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """Batches of the chosen samples in order; the last one may be shorter."""
        return [list(chosen[start : start + size]) for start in range(0, len(chosen), size)]

    def read(self, batch: Sequence[int]) -> Batch:
        """Whole numbers [n, length] under each input's name."""
        tokens, labels = self._part.batch(list(batch))
        return Batch({port.name: self._input(port, tokens) for port in self._ports}, labels)

    def _input(self, port: Port, tokens: "npt.NDArray[np.int64]") -> "npt.NDArray[Any]":
        values = tokens
        if self._is(port, "mask", MASKS):
            values = np.asarray(tokens != self._padding) if self._filled else np.ones_like(tokens)
        elif self._is(port, "types", TYPES):
            values = np.zeros_like(tokens)
        elif port.name in PLACES:
            values = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
        elif port.name != _tokens(self._ports, self._how).name:
            raise BadInput(f"the model's input {port.name} is no part of a text: give the inputs as .npz files (uri)")
        return np.ascontiguousarray(values.astype(port.dtype))

    def _is(self, port: Port, role: str, usual: frozenset[str]) -> bool:
        named = None if self._how is None else getattr(self._how, role)
        return port.name == named if named else port.name in usual


def _tokens(ports: Sequence[Port], how: TextProcessing | None) -> Port:
    """The input that takes token numbers: as the artifact says, as exporters call it, or the only one."""
    wanted = TOKENS if how is None else how.tokens
    found = next((port for port in ports if port.name == wanted), ports[0] if len(ports) == 1 else None)
    if found is None or not found.dtype.startswith(("int", "uint")):
        raise BadInput(
            f"the data set holds texts, and the model's inputs are {', '.join(port.name for port in ports)}: "
            "none takes token numbers"
        )
    return found
