"""Rules for the place of the rows after an operator: one per kind, for operands whose rows are at known places.

Each rule gets a node with at least one operand that is At, and none that is Mixed or Unknown.
"""

from collections.abc import Callable

from workloads.serve.rows import names
from workloads.serve.rows.moves import MOVES
from workloads.serve.rows.state import FREE, At, Free, Mixed, Node, State, Unknown

Rule = Callable[[Node], State]


def unary(node: Node) -> State:
    """Operators value by value of operand 0."""
    if any(not isinstance(state, Free) for state in node.states[1:]):
        return Unknown(f"{node.words}: its settings depend on rows")
    return node.states[0]


def broadcast(node: Node) -> State:
    """Operators value by value of several operands, aligned at their last axes."""
    carried = [place for place, state in enumerate(node.states) if isinstance(state, At)]
    ranks = [node.rank(place) for place in range(len(node.states))]
    if len(node.states) == 1:
        return node.states[0]
    if any(rank is None for rank in ranks):
        return Unknown(f"{node.words}: an operand's rank is not known")
    most = max(rank for rank in ranks if rank is not None)
    places = {_axis(node, place) + most - (ranks[place] or 0) for place in carried}
    if len(places) > 1:
        return Mixed(f"{node.words} meets every row with every other")
    axis = places.pop()
    for place, rank in enumerate(ranks):
        own = axis - (most - (rank or 0))
        shape = node.shapes[place]
        if place not in carried and shape is not None and own >= 0 and shape[own] != 1:
            return Unknown(f"{node.words} has another value for each place in the batch")
    return At(axis)


def _axis(node: Node, place: int) -> int:
    state = node.states[place]
    assert isinstance(state, At)  # noqa: S101  (the caller has looked)
    return state.axis


def product(node: Node) -> State:
    """A matrix product [..., m, k] x [..., k, n]."""
    right = names.PRODUCTS[node.op]
    ranks = node.rank(0), node.rank(right) if not node.op.endswith(("NBits", "Bnb4", "FpQ4")) else 2
    if node.attributes.get("transA") or node.attributes.get("transBatchA") or None in ranks or 1 in ranks:
        return Unknown(f"{node.words}: its operands' axes are not known")
    most = max(rank for rank in ranks if rank is not None)
    places = set()
    for place, rank, summed in ((0, ranks[0] or 0, 1), (right, ranks[1] or 0, 2)):
        state = node.states[place]
        if not isinstance(state, At):
            continue
        from_end = rank - state.axis
        if node.op == "FusedMatMul" and place and node.attributes.get("transB") and from_end <= 2:
            from_end = 3 - from_end
        if from_end == summed:
            return Mixed(f"{node.words} sums over the rows")
        places.add(most - from_end)
    return At(places.pop()) if len(places) == 1 else Mixed(f"{node.words} meets every row with every other")


def gemm(node: Node) -> State:
    """A' x B' + C."""
    if any(not isinstance(state, Free) for state in node.states[1:]):
        return Unknown(f"{node.words}: its weights depend on rows")
    rows = 1 if node.attributes.get("transA") else 0
    return At(0) if _axis(node, 0) == rows else Mixed(f"{node.words} sums over the rows")


def picture(node: Node) -> State:
    """[batch, channels, ...]: each picture by itself."""
    if node.op == "BatchNormalization" and _trains(node):
        return Mixed(f"{node.words} is in training mode: it normalises by the batch")
    if node.op in {"Resize", "Upsample"} and not _keeps_rows(node):
        return Unknown(f"{node.words} may change the number of rows")
    if any(not isinstance(state, Free) for state in node.states[1:]) and node.op != "GridSample":
        return Unknown(f"{node.words}: its weights depend on rows")
    if all(isinstance(state, Free) or state == At(0) for state in node.states):
        return At(0)
    if node.op in names.CONTRACTING:
        return Mixed(f"{node.words} runs over the rows")
    return Unknown(f"{node.words}: rows are not on its first axis")


def _keeps_rows(node: Node) -> bool:
    """Tell whether a picture's first axis stays as it is: `axes` names others, or its scale is 1."""
    if "axes" in node.attributes:
        return all((node.counted(int(axis), node.rank(0)) or 0) > 0 for axis in node.attributes["axes"])
    if "scales" in node.attributes:
        return bool(node.attributes["scales"][0] == 1)
    for place in range(1, len(node.values)):
        value = node.values[place]
        if value is not None and value.dtype.kind == "f" and value.size and value.size == node.rank(0):
            return bool(value.reshape(-1)[0] == 1)
    return False


def _trains(node: Node) -> bool:
    if node.opset < 7:
        return not node.attributes.get("is_test", 0)
    return bool(node.attributes.get("training_mode", 0)) or (node.opset < 14 and len(node.results) > 1)


def reduction(node: Node) -> State:
    """Reduce*."""
    axes = node.integers(1, "axes")
    if axes is None:
        if len(node.states) > 1:
            return Unknown(f"{node.words}: its axes are computed")
        if node.attributes.get("noop_with_empty_axes"):
            return node.states[0]
    return _without(node, axes or None)


def argument(node: Node) -> State:
    """ArgMax, ArgMin: the first axis unless it is said."""
    return _without(node, [int(node.attributes.get("axis", 0))])


def _without(node: Node, axes: list[int] | None) -> State:
    """`axes` are summed up; None: all of them."""
    at = _axis(node, 0)
    words = f"{node.words} goes over the rows"
    if axes is None:
        return Mixed(words)
    counted = [node.counted(axis, node.rank(0)) for axis in axes]
    if None in counted:
        return Unknown(f"{node.words}: its operand's rank is not known")
    if at in counted:
        return Mixed(words)
    kept = bool(node.attributes.get("keepdims", 1))
    return At(at if kept else at - sum(1 for axis in counted if axis is not None and axis < at))


def softmax(node: Node) -> State:
    """Softmax and its kin: until opset 12 over all axes from `axis` on."""
    old = node.opset < 13
    return _over(node, node.axis(1 if old else -1), to_the_end=old)


def norm(node: Node) -> State:
    """Normalization over all axes from `axis` on."""
    return _over(node, node.axis(-1), to_the_end=True)


def skip_norm(node: Node) -> State:
    """Normalization of the sum of two operands, over the last axis."""
    rank = node.rank(0)
    if rank is None or any(state not in {FREE, node.states[0]} for state in node.states[:2]):
        return Unknown(f"{node.words}: its operands' axes are not known")
    return _over(node, rank - 1, to_the_end=True)


def mean_variance(node: Node) -> State:
    """MeanVarianceNormalization, over batch, height and width unless other axes are given."""
    axes = [int(axis) for axis in node.attributes.get("axes", (0, 2, 3))]
    state = _without(node, axes)
    return node.states[0] if isinstance(state, At) else state


def one_axis(node: Node) -> State:
    """Operators along one axis, which stays: TopK, LpNormalization."""
    return _over(node, node.axis(-1))


def running_sum(node: Node) -> State:
    """CumSum, CumProd: the axis is an operand."""
    axes = node.integers(1)
    if not axes:
        return Unknown(f"{node.words}: its axis is computed")
    return _over(node, node.counted(axes[0], node.rank(0)))


def _over(node: Node, axis: int | None, *, to_the_end: bool = False) -> State:
    at = _axis(node, 0)
    if axis is None:
        return Unknown(f"{node.words}: its operand's rank is not known")
    if axis == at or (to_the_end and axis < at):
        return Mixed(f"{node.words} goes over the rows")
    return At(at)


def first_axis(node: Node) -> State:
    """Operators row by row of the first axis."""
    fits = all(isinstance(state, Free) or state == At(0) for state in node.states)
    return At(0) if fits else Unknown(f"{node.words}: rows are not on its first axis")


def einsum(node: Node) -> State:
    """Einsum, by the letter of the axis that has the rows."""
    equation = node.attributes.get("equation", b"")
    text = (equation.decode() if isinstance(equation, bytes) else str(equation)).replace(" ", "")
    left, arrow, right = text.partition("->")
    operands = left.split(",")
    if "." in text or not arrow or len(operands) != len(node.states):
        return Unknown(f"{node.words}: its equation is not read")
    letters = {
        letters[state.axis] for letters, state in zip(operands, node.states, strict=True) if isinstance(state, At)
    }
    if len(letters) > 1:
        return Mixed(f"{node.words} meets every row with every other")
    place = right.find(letters.pop())
    return At(place) if place >= 0 else Mixed(f"{node.words} sums over the rows")


RULES: dict[str, Rule] = {
    **dict.fromkeys(names.UNARY, unary),
    **dict.fromkeys(names.BROADCAST, broadcast),
    **dict.fromkeys(names.PICTURES, picture),
    **dict.fromkeys(names.PRODUCTS, product),
    **dict.fromkeys(names.GEMMS, gemm),
    **dict.fromkeys(names.TABULAR, first_axis),
    **dict.fromkeys(names.ATTENTION, first_axis),
    **dict.fromkeys(names.SOFTMAX, softmax),
    **dict.fromkeys(names.NORMS, norm),
    **dict.fromkeys(names.SKIP_NORMS, skip_norm),
    **dict.fromkeys(names.ARGUMENT, argument),
    "MeanVarianceNormalization": mean_variance,
    "TopK": one_axis,
    "LpNormalization": one_axis,
    "CumSum": running_sum,
    "CumProd": running_sum,
    "Einsum": einsum,
    **MOVES,
}


def rule_of(op: str) -> Rule | None:
    """Rule for an operator; None for one that nobody knows here."""
    return reduction if op.startswith("Reduce") else RULES.get(op)
