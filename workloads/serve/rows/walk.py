"""Verdict on an ONNX graph's rows: follows them node by node, into functions, branches and loops.

The file's graph counts, before a runtime optimises it: that must not change what is computed.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx.model_files import tensors
from workloads.serve.rows import names
from workloads.serve.rows.moves import MOVES
from workloads.serve.rows.rules import rule_of
from workloads.serve.rows.state import (
    FREE,
    LENGTH,
    At,
    Free,
    Length,
    Mixed,
    Node,
    Shape,
    State,
    Unknown,
    Verdict,
    Word,
    worst,
)

if TYPE_CHECKING:
    import onnx

LOG = logging.getLogger("slipway.serve")
LARGE = 4096  # bytes; constants that are larger say nothing of axes
ROUNDS = 4  # through a loop's body, until its states stay


def verdict_of(model: "onnx.ModelProto") -> Verdict:
    """Verdict of the rows on the first axes of the inputs. Changes `model`: its large constants lose their values."""
    try:
        return _Walk(_prepared(model)).verdict()
    except Exception as error:  # a graph that cannot be followed is no reason not to serve it
        LOG.info("the graph's rows cannot be followed: %s: %s", type(error).__name__, error)
        return Verdict(Word.UNKNOWN, "the graph cannot be followed")


def _prepared(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Without functions and large values, with shapes as far as they can be inferred."""
    import onnx
    from onnx import inliner

    for tensor in tensors(model):
        if tensor.ByteSize() > LARGE:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "string_data"):
                tensor.ClearField(field)
    if model.functions:
        model = inliner.inline_local_functions(model)
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # of models that a runtime may still run
        return model


class _Walk:
    """One graph. `outer` is the walk of the graph around it, whose tensors it may read."""

    def __init__(self, model: "onnx.ModelProto", graph: Any = None, outer: "_Walk | None" = None) -> None:
        self._model = model
        self._graph = graph if graph is not None else model.graph
        self._outer = outer
        self._opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
        self.states: dict[str, State] = {}
        self._shapes: dict[str, Shape] = {}
        self._values: dict[str, Any] = {}
        self._read_ports()

    def _read_ports(self) -> None:
        for value in (*self._graph.input, *self._graph.value_info, *self._graph.output):
            kind = value.type.tensor_type
            if value.type.HasField("tensor_type") and kind.HasField("shape"):
                self._shapes[value.name] = [_length(axis) for axis in kind.shape.dim]
        for tensor in self._graph.initializer:
            self.states[tensor.name] = FREE
            self._shapes[tensor.name] = list(tensor.dims)
            self._keep(tensor.name, tensor)

    def _keep(self, name: str, tensor: Any) -> None:
        from onnx import numpy_helper

        if not tensor.external_data and int(np.prod(tensor.dims)) * 8 <= LARGE and tensor.ByteSize() <= LARGE:
            self._values[name] = numpy_helper.to_array(tensor)

    def verdict(self) -> Verdict:
        """Verdict of the whole model."""
        for value in self._graph.input:
            self.states.setdefault(value.name, At(0))
        self.run()
        found = [(output.name, self.state(output.name)) for output in self._graph.output]
        for word, kind in ((Word.MIXED, Mixed), (Word.UNKNOWN, Unknown)):
            for _, state in found:
                if isinstance(state, kind):
                    return Verdict(word, state.reason)
        for name, state in found:
            if isinstance(state, Free):
                return Verdict(Word.UNKNOWN, f"output {name!r} does not depend on the rows")
            if state != At(0):
                return Verdict(Word.MIXED, f"output {name!r} has its rows on another axis than the first")
            if isinstance(state, At) and state.folded:
                return Verdict(Word.UNKNOWN, f"output {name!r} may have several places for each row")
        return Verdict(Word.INDEPENDENT)

    def run(self) -> list[State]:
        """Node by node; the states of the graph's outputs."""
        for node in self._graph.node:
            for name, state in zip(node.output, self._results(node), strict=False):
                self.states[name] = state
        return [self.state(output.name) for output in self._graph.output]

    def state(self, name: str) -> State:
        """State of a tensor of this graph or one around it."""
        if name in self.states:
            return self.states[name]
        return self._outer.state(name) if self._outer is not None else FREE

    def _shape(self, name: str) -> Shape | None:
        if name in self._shapes or self._outer is None:
            return self._shapes.get(name)
        return self._outer._shape(name)

    def _value(self, name: str) -> Any:
        if name in self._values or name in self.states or self._outer is None:
            return self._values.get(name)
        return self._outer._value(name)

    def _results(self, proto: "onnx.NodeProto") -> Sequence[State]:
        """The states of a node's outputs."""
        count = max(1, len(proto.output))
        node = self._node(proto)
        if proto.op_type in {"If", "Loop", "Scan"}:
            return self._with_graphs(proto, node, count)
        if proto.op_type == "Constant" and proto.output:
            for attribute in proto.attribute:
                if attribute.name == "value":
                    self._shapes[proto.output[0]] = list(attribute.t.dims)
                    self._keep(proto.output[0], attribute.t)
                elif attribute.name in {"value_int", "value_ints"}:
                    self._values[proto.output[0]] = np.asarray(node.attributes[attribute.name])
        return _after(node, count)

    def _node(self, proto: "onnx.NodeProto") -> Node:
        import onnx

        plain = {
            attribute.name: onnx.helper.get_attribute_value(attribute)
            for attribute in proto.attribute
            if attribute.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        }
        return Node(
            proto.op_type,
            proto.domain,
            proto.name,
            self._opsets.get(proto.domain or "ai.onnx", 0),
            plain,
            [self.state(name) if name else FREE for name in proto.input],
            [self._shape(name) if name else [] for name in proto.input],
            [self._value(name) if name else None for name in proto.input],
            [self._shape(name) for name in proto.output],
        )

    def _with_graphs(self, proto: "onnx.NodeProto", node: Node, count: int) -> Sequence[State]:
        graphs = {attribute.name: attribute.g for attribute in proto.attribute if attribute.HasField("g")}
        if proto.op_type == "If":
            if not isinstance(node.states[0], Free):
                return [Mixed(f"{node.words} takes one branch for all rows")] * count
            branches = [_Walk(self._model, graph, self).run() for graph in graphs.values()]
            return [worst(states) for states in zip(*branches, strict=False)]
        body = graphs["body"]
        carried = len(node.states) - 2 if proto.op_type == "Loop" else len(node.states) - _scanned(node)
        given, words = self._first_states(node, carried), f"{node.words} carries something from row to row"
        if proto.op_type == "Loop" and any(not isinstance(state, Free) for state in node.states[:2]):
            return [Mixed(f"{node.words} is as long as the rows say")] * count
        for _ in range(ROUNDS):
            walk = _Walk(self._model, body, self)
            walk.states |= dict(zip((one.name for one in body.input), given, strict=False))
            results = walk.run()[1:] if proto.op_type == "Loop" else walk.run()
            offset = 2 if proto.op_type == "Loop" else 0
            joined = [
                worst([old, new]) if not (isinstance(old, At) and isinstance(new, At) and old != new) else Mixed(words)
                for old, new in zip(given[offset : offset + carried], results[:carried], strict=False)
            ]
            given = [*given[:offset], *joined, *given[offset + carried :]]
        stacked = [
            replace(state, axis=state.axis + 1) if isinstance(state, At) else state for state in results[carried:]
        ]
        return [*joined, *stacked]

    def _first_states(self, node: Node, carried: int) -> list[State]:
        """States of the body's inputs in the first round."""
        if node.op == "Loop":
            return [FREE, FREE, *node.states[2:]]
        axes = node.attributes.get("scan_input_axes") or [0] * _scanned(node)
        cut: list[State] = []
        for state, axis, shape in zip(node.states[carried:], axes, node.shapes[carried:], strict=False):
            place = node.counted(int(axis), None if shape is None else len(shape))
            if not isinstance(state, At):
                cut.append(state)
            elif place is None:
                cut.append(Unknown(f"{node.words}: its axis is not known"))
            elif place == state.axis:
                cut.append(Mixed(f"{node.words} takes the rows for steps"))
            else:
                cut.append(replace(state, axis=state.axis - (place < state.axis)))
        return [*node.states[:carried], *cut]


def _scanned(node: Node) -> int:
    return int(node.attributes.get("num_scan_inputs", 0))


def _length(axis: Any) -> int | str | None:
    if axis.HasField("dim_value") and axis.dim_value > 0:
        return int(axis.dim_value)
    return str(axis.dim_param) if axis.HasField("dim_param") and axis.dim_param else None


def _after(node: Node, count: int) -> Sequence[State]:
    """The states of the outputs of a node without graphs in it."""
    flowing = worst(node.states)
    if isinstance(flowing, Free | Mixed):
        return [FREE if node.op == "ConstantOfShape" else flowing] * count
    if node.op in {"Shape", "Size"}:
        return [LENGTH] * count
    words = _whole(node)
    if words:
        return [Mixed(f"{node.words} {words}")] * count
    if node.op not in MOVES and any(isinstance(state, Length) for state in node.states):
        flowing = worst([flowing, Unknown(f"{node.words}: the number of rows is among its operands")])
    return [flowing] * count if isinstance(flowing, Unknown) else _by_rule(node, count)


def _by_rule(node: Node, count: int) -> Sequence[State]:
    folded = any(isinstance(state, At) and state.folded for state in node.states)
    if node.op in names.RECURRENT:
        return [replace(one, folded=folded) if isinstance(one, At) else one for one in _recurrent(node, count)]
    rule = rule_of(node.op)
    state: State = Unknown(f"nobody knows here what {node.words} does with rows") if rule is None else rule(node)
    if isinstance(state, At) and folded:
        state = replace(state, folded=True)
    if node.op in names.ATTENTION:
        return [state, *[Unknown(f"{node.words}: the axes of its states are not known")] * (count - 1)]
    return [state] * count


def _whole(node: Node) -> str:
    """Words for what an operator does to all rows together, whatever the axes; or nothing."""
    if node.op == "Compress":
        axis = node.axis(0) if "axis" in node.attributes else None
        if axis is None or At(axis) == node.states[0] or not isinstance(node.states[1], Free):
            return "leaves out some of the rows' values"
    return names.WHOLE.get(node.op, "")


def _recurrent(node: Node, count: int) -> Sequence[State]:
    """RNN, LSTM, GRU: [steps, batch, values] in, unless the layout says [batch, steps, values]."""
    rows, states = (0, (0, 0, 0)) if node.attributes.get("layout") else (1, (2, 1, 1))
    if node.states[0] != At(rows):
        return [Mixed(f"{node.words} takes the rows for steps")] * count
    return [At(axis) for axis in states[:count]]
