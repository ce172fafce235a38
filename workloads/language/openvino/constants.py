"""Weights of a language model as constants of OpenVINO's: floats as they are kept, few bits as its kernels take them.

Matrices in few bits stay so in memory: number, less the group's zero, times its scale, is a form that the plugins fuse
into the matrix product.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workloads.errors import BadInput
from workloads.language.packed import Codes, PackedShards, opened
from workloads.language.weights import empty, matched


class Constants:
    """Weights by the model's own names, read one at a time."""

    def __init__(self, folder: Path, library: Any, changed: Mapping[str, torch.Tensor] | None = None) -> None:
        """BadInput when the files' names or shapes are not the model's. `library`: the package openvino.

        `changed`: matrices in place of the folder's own.
        """
        self._changed = dict(changed or {})
        self.frame: Any = empty(folder)
        self._ov, self._op, self._tensors = library, library.opset13, opened(folder)
        self._names = {own: name for name, own in matched(self.frame, self._tensors).items()}
        self._shapes = {name: tuple(one.shape) for name, one in self.frame.state_dict().items()}
        self._folder = folder

    def __contains__(self, name: str) -> bool:
        return name in self._names or name in self._changed

    def _read(self, name: str, *, transposed: bool = False) -> torch.Tensor | Codes:
        if name in self._changed:
            return self._changed[name]
        held = self._names[name]
        found = self._tensors.kept(held) if isinstance(self._tensors, PackedShards) else self._tensors.tensor(held)
        shape = tuple(found.shape if isinstance(found, torch.Tensor) else found.numbers.shape)
        if transposed and isinstance(found, Codes):
            shape = shape[::-1]
        if shape != self._shapes[name]:
            raise BadInput(f"{self._folder}: {held} has the shape {list(shape)}, the model {list(self._shapes[name])}")
        return found

    def vector(self, name: str) -> Any:
        """A vector or a table in float32."""
        found = self._read(name)
        return self._float(found.matrix() if isinstance(found, Codes) else found)

    def matrix(self, name: str, *, transposed: bool = False) -> Any:
        """A matrix [outputs, inputs] in float32, kept as it is in the files. `transposed`: it is [inputs, outputs]."""
        found = self._read(name, transposed=transposed)
        if isinstance(found, Codes):
            return self._decompressed(found)
        return self._float(found.t().contiguous() if transposed else found)

    def _float(self, tensor: torch.Tensor) -> Any:
        kinds = {torch.bfloat16: self._ov.Type.bf16, torch.float16: self._ov.Type.f16}
        if tensor.dtype in kinds:
            words = tensor.contiguous().view(torch.int16).numpy()
            return self._op.convert(self._constant(words, list(tensor.shape), kinds[tensor.dtype]), "f32")
        return self._op.constant(tensor.float().contiguous().numpy())

    def _constant(self, words: Any, shape: list[int], kind: Any) -> Any:
        """A constant of a type that numpy has not, in memory of its own: one over numpy's would outlive the array."""
        held = self._ov.Tensor(kind, self._ov.Shape(shape))
        held.data.view(np.uint8).reshape(-1)[:] = words.reshape(-1).view(np.uint8)
        return self._ov.op.Constant(held)

    def _decompressed(self, codes: Codes) -> Any:
        """(number - zero) * scale over groups [outputs, groups, size], as one matrix."""
        outputs, inputs = codes.numbers.shape
        groups = codes.scales.shape[1]
        shape = [outputs, groups, inputs // groups]
        found = self._op.convert(self._whole(codes.numbers.reshape(shape), codes), "f32")
        if codes.zeros is not None:
            zeros = self._op.convert(self._whole(codes.zeros[..., None], codes), "f32")
            found = self._op.subtract(found, zeros)
        found = self._op.multiply(found, self._op.constant(codes.scales.float()[..., None].numpy()))
        return self._op.reshape(found, self._op.constant(np.array([outputs, inputs], np.int64)), special_zero=False)

    def _whole(self, numbers: torch.Tensor, codes: Codes) -> Any:
        """Signed where weights are symmetric; else counted from nought, as kernels with zeros expect."""
        signed, kinds, shape = codes.zeros is None, self._ov.Type, list(numbers.shape)
        flat = numbers.to(torch.int16).reshape(-1) + (0 if signed else 1 << (codes.bits - 1))
        words = (flat & 0xFF).to(torch.uint8).numpy()
        if codes.bits == 8:
            return self._constant(words, shape, kinds.i8 if signed else kinds.u8)
        if codes.bits != 4:
            raise BadInput(f"{self._folder}: OpenVINO has no kernels for weights of {codes.bits} bits, 4 and 8 it has")
        words = np.append(words & 0xF, np.zeros(len(words) % 2, np.uint8))
        return self._constant(words[0::2] | (words[1::2] << 4), shape, kinds.i4 if signed else kinds.u4)
