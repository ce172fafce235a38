"""Rules for the place of the rows after an operator that only moves values. Rules as in rules.py."""

from collections.abc import Callable
from math import prod

from workloads.serve.rows.state import At, Free, Length, Mixed, Node, Shape, State, Unknown

ENDLESS = 2**31 - 1


def _at(node: Node, place: int = 0) -> int | None:
    state = node.states[place]
    return state.axis if isinstance(state, At) else None


def transpose(node: Node) -> State:
    """The axes in the reverse order unless `perm` says another."""
    at, rank = _at(node), node.rank(0)
    order = node.attributes.get("perm")
    if order is not None:
        return At(list(order).index(at))
    return Unknown(f"{node.words}: the rank is not known") if rank is None or at is None else At(rank - 1 - at)


def reshape(node: Node) -> State:
    """Rows that are outermost stay outermost, if each row's values stay together."""
    wanted = node.integers(1, "shape")
    before, after = node.shapes[0], node.results[0] if node.results else None
    if _at(node) != 0:
        return Unknown(f"{node.words} folds an axis of rows that is not the first")
    zero = not node.attributes.get("allowzero")
    if wanted and _keeps(wanted, before, zero=zero):
        return At(0, folded=not (wanted[0] == 0 and zero) and not _same(wanted, before))
    if wanted is None and before and after and isinstance(before[0], str) and before[0] == after[0]:
        return At(0)
    return Unknown(f"{node.words} may put values of several rows together")


def _keeps(wanted: list[int], before: Shape | None, *, zero: bool) -> bool:
    """Each block of the new first axis is a whole row, or a part of one."""
    if wanted[0] == 0 and zero:
        return True
    if wanted[0] != -1 or before is None:
        return False
    rest = [
        before[place] if one == 0 and zero and place < len(before) else one
        for place, one in enumerate(wanted[1:], start=1)
    ]
    if not all(isinstance(one, int) and one > 0 for one in (*before[1:], *rest)):
        # The same names at the same places are the same lengths.
        return list(before[1:]) == rest
    sizes = [one for one in before[1:] if isinstance(one, int)], [one for one in rest if isinstance(one, int)]
    return prod(sizes[0]) % max(1, prod(sizes[1])) == 0


def _same(wanted: list[int], before: Shape | None) -> bool:
    """Tell whether there are as many values behind the first axis as before."""
    known = [one for one in (before or [])[1:] if isinstance(one, int)]
    return (
        before is not None
        and len(known) == len(before) - 1
        and min(wanted[1:], default=1) > 0
        and (prod(known) == prod(wanted[1:]))
    )


def flatten(node: Node) -> State:
    """Flatten, to two axes: the rows stay first if the first axis is theirs and `axis` lies behind it."""
    at, axis = _at(node), node.axis(1)
    if at == 0 and axis is not None and axis >= 1:
        return At(0)
    return Unknown(f"{node.words} puts rows and values on one axis")


def squeeze(node: Node) -> State:
    """Axes of length 1 go."""
    at, axes, shape = _at(node), node.integers(1, "axes"), node.shapes[0]
    if axes is None:
        if shape is None or any(not isinstance(one, int) for place, one in enumerate(shape) if place != at):
            return Unknown(f"{node.words}: which axes go depends on the shape")
        axes = [place for place, one in enumerate(shape) if one == 1]
    return _shifted(node, axes, at, -1)


def unsqueeze(node: Node) -> State:
    """Axes of length 1 come; counted in the result."""
    at, axes, rank = _at(node), node.integers(1, "axes"), node.rank(0)
    if axes is None or at is None or (rank is None and min(axes) < 0):
        return Unknown(f"{node.words}: its axes are not known")
    counted = sorted(axis if axis >= 0 else axis + (rank or 0) + len(axes) for axis in axes)
    for axis in counted:
        at += axis <= at
    return At(at)


def _shifted(node: Node, axes: list[int], at: int | None, step: int) -> State:
    counted = [node.counted(axis, node.rank(0)) for axis in axes]
    if None in counted or at is None or at in counted:
        return Unknown(f"{node.words}: its axes are not known, or hold the rows")
    return At(at + step * sum(1 for axis in counted if axis is not None and axis < at))


def expand(node: Node) -> State:
    """New axes come in front."""
    at, before, after = _at(node), node.rank(0), node.result_rank()
    if at is None or before is None or after is None:
        return Unknown(f"{node.words}: the rank of its result is not known")
    return At(at + after - before)


def concat(node: Node) -> State:
    """Operands one behind the other."""
    axis = node.axis(0)
    places = {state.axis for state in node.states if isinstance(state, At)}
    if axis is None or len(places) > 1:
        return Unknown(f"{node.words}: its operands' axes do not agree")
    if axis in places:
        return Mixed(f"{node.words} puts something behind the rows")
    if any(isinstance(state, Free) and _varies(shape, places) for state, shape in _pairs(node)):
        return Unknown(f"{node.words} has another value for each place in the batch")
    return At(places.pop())


def _pairs(node: Node) -> "zip[tuple[State, Shape | None]]":
    return zip(node.states, node.shapes, strict=True)


def _varies(shape: Shape | None, places: set[int]) -> bool:
    """A constant that is longer than one row and may differ along it."""
    return shape is None or any(place < len(shape) and isinstance(shape[place], int) for place in places)


def split(node: Node) -> State:
    """Parts of an axis."""
    return _along(node, node.axis(0), "cuts the rows apart")


def _along(node: Node, axis: int | None, words: str) -> State:
    at = _at(node)
    if axis is None or at is None:
        return Unknown(f"{node.words}: its axis is not known")
    return Mixed(f"{node.words} {words}") if axis == at else At(at)


def cut(node: Node) -> State:
    """Slice: a part of some axes."""
    starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
    axes, steps = node.integers(3, "axes"), node.integers(4)
    if starts is None or (len(node.states) > 3 and axes is None):
        return Unknown(f"{node.words}: what it takes is computed")
    counted = [node.counted(axis, node.rank(0)) for axis in axes or range(len(starts))]
    at = _at(node)
    if None in counted or at is None:
        return Unknown(f"{node.words}: its axes are not known")
    if at not in counted:
        return At(at)
    place = counted.index(at)
    whole = starts[place] == 0 and ends is not None and ends[place] >= ENDLESS and (steps or [1] * 9)[place] == 1
    return At(at) if whole else Mixed(f"{node.words} takes some rows for all")


def gather(node: Node) -> State:
    """Rows as places in a table, or one place of every row."""
    if any(isinstance(state, Length) for state in node.states):
        return Unknown(f"{node.words}: the number of rows is among its operands")
    if isinstance(node.states[0], Free):
        axis, at = node.axis(0), _at(node, 1)
        return At(axis + at) if axis is not None and at is not None else Unknown(f"{node.words}: its axis is not known")
    axis, at, more = node.axis(0), _at(node), node.rank(1)
    if not isinstance(node.states[1], Free) or axis is None or at is None or (axis < at and more is None):
        return Unknown(f"{node.words}: both operands depend on rows, or its axis is not known")
    if axis == at:
        return Mixed(f"{node.words} takes some rows for all")
    return At(at + (more or 0) - 1 if axis < at else at)


def gather_elements(node: Node) -> State:
    """GatherElements, along one axis."""
    if any(isinstance(state, Length) for state in node.states):
        return Unknown(f"{node.words}: the number of rows is among its operands")
    if len({state for state in node.states if isinstance(state, At)}) > 1 or not isinstance(node.states[0], At):
        return Unknown(f"{node.words}: its operands' axes do not agree")
    return _along(node, node.axis(0), "takes values of some rows for others")


def pad(node: Node) -> State:
    """Pad: more values around the tensor."""
    pads, at, rank = node.integers(1, "pads"), _at(node), node.rank(0)
    if pads is None or at is None or rank is None or len(pads) != 2 * rank:
        return Unknown(f"{node.words}: what it adds is computed")
    return At(at) if pads[at] == pads[at + rank] == 0 else Mixed(f"{node.words} adds rows")


def tile(node: Node) -> State:
    """Tile: the tensor repeated."""
    repeats, at = node.integers(1), _at(node)
    if repeats is None or at is None or at >= len(repeats):
        return Unknown(f"{node.words}: how often is computed")
    return At(at) if repeats[at] == 1 else Mixed(f"{node.words} repeats the rows")


def one_hot(node: Node) -> State:
    """A new axis, the last one unless it is said."""
    at, rank, axis = _at(node), node.rank(0), int(node.attributes.get("axis", -1))
    if at is None or (axis < 0 and rank is None) or any(type(state) is not Free for state in node.states[1:]):
        return Unknown(f"{node.words}: its axis is not known")
    counted = axis if axis >= 0 else axis + (rank or 0) + 1
    return At(at + (counted <= at))


def reverse(node: Node) -> State:
    """ReverseSequence."""
    at = _at(node)
    if at == int(node.attributes.get("time_axis", 0)):
        return Mixed(f"{node.words} takes the rows for steps")
    return At(at) if at == int(node.attributes.get("batch_axis", 1)) else Unknown(f"{node.words}: its axes differ")


MOVES: dict[str, Callable[[Node], State]] = {
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Concat": concat,
    "Split": split,
    "Slice": cut,
    "Gather": gather,
    "GatherElements": gather_elements,
    "Pad": pad,
    "Tile": tile,
    "OneHot": one_hot,
    "ReverseSequence": reverse,
}
