"""Graphs of Llama-, Qwen- and GPT-2-shaped decoders in OpenVINO's operations, with keys and values as state.

The forms are those which OpenVINO turns into paged attention and fuses on its devices: keys and values are read,
reordered by beam_idx and joined with the new ones; shared heads are broadcast; the output layer is the last product.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.language.openvino.constants import Constants

if TYPE_CHECKING:
    import torch

# Rotary embeddings whose angles depend on the position alone, not on the text's length.
ROTARY = ("default", "linear", "llama3", "yarn")
CLOSE_TO_NONE = -65504.0  # of a masked place; an infinite one makes a row of nothing but masks no number


class Network:
    """Graph of a model's folder. `model` is called once."""

    def __init__(self, folder: Path, library: Any, changed: "Mapping[str, torch.Tensor] | None" = None) -> None:
        """BadInput for weights of another model, or a form of position or activation that is not built here.

        `changed`: matrices in place of the folder's own, as an adapter makes them.
        """
        self.weights = Constants(folder, library, changed)
        self.config: Any = self.weights.frame.config
        self._ov, self._op, self._folder = library, library.opset13, folder
        self._gpt2 = self.config.model_type == "gpt2"
        self.heads = int(self.config.num_attention_heads)
        self.shared = int(getattr(self.config, "num_key_value_heads", None) or self.heads)
        width = int(self.config.hidden_size)
        self.head = int(getattr(self.config, "head_dim", None) or width // self.heads)
        self._state: list[Any] = []

    def model(self) -> Any:
        """The model of inputs input_ids, attention_mask, position_ids [n, length] and beam_idx [n], output logits."""
        op, names = self._op, ("input_ids", "attention_mask", "position_ids")
        ids, mask, places = (op.parameter([-1, -1], np.int64, name=name) for name in names)
        beams = op.parameter([-1], np.int32, name="beam_idx")
        inputs = [ids, mask, places, beams]
        for one in inputs:
            one.output(0).set_names({one.get_friendly_name()})
        self._beams, self._rows = beams, op.gather(op.shape_of(ids), _number(op, 0), _number(op, 0))
        self._mask = self._masked(ids, mask)
        hidden = self._gpt2_layers(ids, places) if self._gpt2 else self._llama_layers(ids, places)
        logits = op.matmul(hidden, self._head(), False, True)
        result = op.result(logits)
        logits.output(0).set_names({"logits"})
        return self._ov.Model([result], self._state, inputs, self.config.model_type)

    def _head(self) -> Any:
        name = "lm_head.weight"
        inner = "transformer.wte.weight" if self._gpt2 else "model.embed_tokens.weight"
        return self.weights.matrix(name if name in self.weights else inner)

    def _masked(self, ids: Any, mask: Any) -> Any:
        """Float [n, 1, length, all]: nought where a token may look."""
        op = self._op
        new, every = (op.gather(op.shape_of(one), _number(op, 1), _number(op, 0)) for one in (ids, mask))
        column = op.range(_number(op, 0), every, _number(op, 1), "i64")
        row = op.range(op.subtract(every, new), every, _number(op, 1), "i64")
        earlier = op.less_equal(column, op.unsqueeze(row, _number(op, 1)))
        told = op.unsqueeze(op.unsqueeze(op.not_equal(mask, _number(op, 0)), _number(op, 1)), _number(op, 1))
        floor = op.constant(np.array(CLOSE_TO_NONE, np.float32))
        return op.select(op.logical_and(told, earlier), op.constant(np.array(0, np.float32)), floor)

    def _llama_layers(self, ids: Any, places: Any) -> Any:
        hidden = self._embedded("model.embed_tokens.weight", ids)
        cosine, sine = self._angles(places)
        for number in range(int(self.config.num_hidden_layers)):
            name = f"model.layers.{number}"
            seen = self._rms(hidden, f"{name}.input_layernorm.weight")
            query, key, value = (self._linear(seen, f"{name}.self_attn.{one}_proj") for one in "qkv")
            query, key = self._split(query, self.heads), self._split(key, self.shared)
            if f"{name}.self_attn.q_norm.weight" in self.weights:
                query = self._rms(query, f"{name}.self_attn.q_norm.weight")
                key = self._rms(key, f"{name}.self_attn.k_norm.weight")
            query, key = (self._turned(self._heads_first(one), cosine, sine) for one in (query, key))
            value = self._heads_first(self._split(value, self.shared))
            seen = self._attended(number, query, key, value, 1 / math.sqrt(self.head))
            hidden = self._op.add(hidden, self._linear(seen, f"{name}.self_attn.o_proj"))
            seen = self._rms(hidden, f"{name}.post_attention_layernorm.weight")
            gate = self._activated(self._linear(seen, f"{name}.mlp.gate_proj"), self.config.hidden_act)
            product = self._op.multiply(gate, self._linear(seen, f"{name}.mlp.up_proj"))
            hidden = self._op.add(hidden, self._linear(product, f"{name}.mlp.down_proj"))
        return self._rms(hidden, "model.norm.weight")

    def _gpt2_layers(self, ids: Any, places: Any) -> Any:
        config, op = self.config, self._op
        hidden = op.add(self._embedded("transformer.wte.weight", ids), self._embedded("transformer.wpe.weight", places))
        for number in range(int(config.num_hidden_layers)):
            name = f"transformer.h.{number}"
            seen = self._linear(self._layer_norm(hidden, f"{name}.ln_1"), f"{name}.attn.c_attn", transposed=True)
            parts = op.split(seen, _number(op, 2), 3)
            query, key, value = (self._heads_first(self._split(parts.output(at), self.heads)) for at in range(3))
            scale = 1 / math.sqrt(self.head) if config.scale_attn_weights else 1.0
            scale /= number + 1 if config.scale_attn_by_inverse_layer_idx else 1
            seen = self._attended(number, query, key, value, scale)
            hidden = op.add(hidden, self._linear(seen, f"{name}.attn.c_proj", transposed=True))
            seen = self._linear(self._layer_norm(hidden, f"{name}.ln_2"), f"{name}.mlp.c_fc", transposed=True)
            seen = self._activated(seen, config.activation_function)
            hidden = op.add(hidden, self._linear(seen, f"{name}.mlp.c_proj", transposed=True))
        return self._layer_norm(hidden, "transformer.ln_f")

    def _embedded(self, name: str, numbers: Any) -> Any:
        return self._op.gather(self.weights.vector(name), numbers, _number(self._op, 0))

    def _linear(self, seen: Any, name: str, *, transposed: bool = False) -> Any:
        product = self._op.matmul(seen, self.weights.matrix(f"{name}.weight", transposed=transposed), False, True)
        bias = f"{name}.bias"
        return self._op.add(product, self.weights.vector(bias)) if bias in self.weights else product

    def _rms(self, seen: Any, name: str) -> Any:
        op, last = self._op, np.array([-1], np.int64)
        square = op.power(seen, op.constant(np.array(2, np.float32)))
        mean = op.reduce_mean(square, op.constant(last), keep_dims=True)
        root = op.sqrt(op.add(mean, op.constant(np.array(self.config.rms_norm_eps, np.float32))))
        seen = op.multiply(seen, op.divide(op.constant(np.array(1, np.float32)), root))
        return op.multiply(seen, self.weights.vector(name))

    def _layer_norm(self, seen: Any, name: str) -> Any:
        op, last = self._op, self._op.constant(np.array([-1], np.int64))
        seen = op.mvn(seen, last, True, float(self.config.layer_norm_epsilon), "inside_sqrt")
        return op.add(op.multiply(seen, self.weights.vector(f"{name}.weight")), self.weights.vector(f"{name}.bias"))

    def _activated(self, seen: Any, name: str) -> Any:
        op = self._op
        if name in {"silu", "swish"}:
            return op.swish(seen)
        if name in {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"}:
            return op.gelu(seen, "tanh")
        if name == "gelu":
            return op.gelu(seen, "erf")
        if name == "relu":
            return op.relu(seen)
        raise BadInput(f"{self._folder}: no graph is built of the activation {name}: silu, gelu, gelu_new and relu are")

    def _split(self, seen: Any, heads: int) -> Any:
        return self._op.reshape(
            seen, self._op.constant(np.array([0, 0, heads, self.head], np.int64)), special_zero=True
        )

    def _heads_first(self, seen: Any) -> Any:
        return self._op.transpose(seen, self._op.constant(np.array([0, 2, 1, 3], np.int64)))

    def _angles(self, places: Any) -> tuple[Any, Any]:
        """Cosines and sines [n, 1, length, head] of positions [n, length], as transformers' own module has them."""
        op, module = self._op, self.weights.frame.model.rotary_emb
        made = type(module)(self.config)
        kind = getattr(made, "rope_type", "default")
        if kind not in ROTARY:
            raise BadInput(f"{self._folder}: rope_scaling of type {kind!r} follows the text's length: {ROTARY} do not")
        if 2 * len(made.inv_freq) != self.head:
            raise BadInput(f"{self._folder}: {2 * len(made.inv_freq)} of a head's {self.head} numbers turn: all must")
        frequencies = made.inv_freq.float().numpy().reshape(1, -1, 1)
        angles = op.matmul(
            op.broadcast(
                op.constant(frequencies),
                op.concat([op.unsqueeze(self._rows, _number(op, 0)), _vector(op, frequencies.shape[1], 1)], 0),
            ),
            op.convert(op.unsqueeze(places, _number(op, 1)), "f32"),
            False,
            False,
        )
        angles = op.transpose(angles, op.constant(np.array([0, 2, 1], np.int64)))
        angles = op.concat([angles, angles], -1)
        found = (op.cos(angles), op.sin(angles))
        factor = float(getattr(made, "attention_scaling", 1.0))
        if factor != 1.0:
            found = tuple(op.multiply(one, op.constant(np.array(factor, np.float32))) for one in found)
        cosine, sine = (op.unsqueeze(one, _number(op, 1)) for one in found)
        return cosine, sine

    def _turned(self, seen: Any, cosine: Any, sine: Any) -> Any:
        op, half = self._op, self.head // 2
        axis = _vector(op, 3)
        step = _vector(op, 1)
        first = op.slice(seen, _vector(op, 0), _vector(op, half), step, axis)
        second = op.slice(seen, _vector(op, half), _vector(op, 2**62), step, axis)
        minus = op.multiply(second, op.constant(np.array(-1, np.float32)))
        turned = op.concat([minus, first], -1)
        return op.add(op.multiply(seen, cosine), op.multiply(turned, sine))

    def _attended(self, number: int, query: Any, key: Any, value: Any, scale: float) -> Any:
        """Attention over what was said before and now, [n, length, heads x head]."""
        op = self._op
        key, value = (self._joined(one, number, name) for one, name in ((key, "key"), (value, "value")))
        factor = op.constant(np.array(scale, np.float32))
        seen = op.scaled_dot_product_attention(query, key, value, self._mask, factor)
        seen = op.transpose(seen, op.constant(np.array([0, 2, 1, 3], np.int64)))
        return op.reshape(seen, op.constant(np.array([0, 0, self.heads * self.head], np.int64)), special_zero=True)

    def _joined(self, new: Any, number: int, name: str) -> Any:
        """Past and new keys or values [n, heads, all, head]; the past is kept for the next call."""
        op, known = self._op, f"past_key_values.{number}.{name}present.{number}.{name}"
        rows = op.unsqueeze(self._rows, _number(op, 0))
        shape = op.concat([rows, _vector(op, self.shared, 0, self.head)], 0)
        nothing = op.broadcast(op.constant(np.array(0, np.float32)), shape)
        past = op.read_value(nothing, known, self._ov.Type.f32, self._ov.PartialShape([-1, self.shared, -1, self.head]))
        every = op.concat([op.gather(past, self._beams, _number(op, 0)), new], 2)
        self._state.append(op.assign(every, known))
        if self.shared == self.heads:
            return every
        each = self.heads // self.shared
        length = op.gather(op.shape_of(every), _vector(op, 0, 1, 2), _number(op, 0))
        parts = op.split(length, _number(op, 0), 3)
        target = op.concat(
            [parts.output(0), parts.output(1), _vector(op, each), parts.output(2), _vector(op, self.head)], 0
        )
        wide = op.broadcast(op.unsqueeze(every, _number(op, 2)), target, "BIDIRECTIONAL")
        return op.reshape(wide, op.constant(np.array([0, self.heads, -1, self.head], np.int64)), special_zero=True)


def _number(op: Any, value: int) -> Any:
    return op.constant(np.array(value, np.int64))


def _vector(op: Any, *values: int) -> Any:
    return op.constant(np.array(values, np.int64))
