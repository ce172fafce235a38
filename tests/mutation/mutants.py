"""Small changes to a Python file, one at a time, as a careless hand would make them. Pure."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.Mod: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One changed file. `change`: what was done, in words; `line` of the original."""

    line: int
    change: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a file. Docstrings, annotations, messages and logging stay as they are."""
    tree = ast.parse(source)
    decorations = {
        id(part) for node in ast.walk(tree) for one in getattr(node, "decorator_list", []) for part in ast.walk(one)
    }
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in decorations:
            continue
        for change, alter in _changes(node):
            changed = copy.deepcopy(tree)
            twin = next(other for number, other in enumerate(ast.walk(changed)) if number == place)
            alter(twin)
            yield Mutant(getattr(node, "lineno", 0), change, ast.unparse(ast.fix_missing_locations(changed)))


Alter = Callable[[ast.AST], None]


def _changes(node: ast.AST) -> Iterator[tuple[str, Alter]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPPED:
        flipped = FLIPPED[type(node.ops[0])]
        yield f"{_name(node.ops[0])} becomes {flipped.__name__}", lambda twin: _set(twin, "ops", [flipped()])
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _words(node):
        other = ARITHMETIC[type(node.op)]
        yield f"{_name(node.op)} becomes {other.__name__}", lambda twin: _set(twin, "op", other())
    if isinstance(node, ast.BoolOp):
        swapped = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{_name(node.op)} becomes {swapped.__name__}", lambda twin: _set(twin, "op", swapped())
    yield from _other_values(node)
    for name in ("body", "orelse", "finalbody"):
        statements = getattr(node, name, None)
        if isinstance(statements, list):
            yield from _without(name, statements)


def _other_values(node: ast.AST) -> Iterator[tuple[str, Alter]]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "`not` is left out", _unnegate
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} becomes {node.value + 1}", lambda twin: _set(twin, "value", node.value + 1)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{node.value} becomes {not node.value}", lambda twin: _set(twin, "value", not node.value)
    if isinstance(node, ast.IfExp):
        yield "both branches change places", _exchange("body", "orelse")
    if isinstance(node, ast.Call) and len(node.args) >= 2 and not _either(node):
        yield f"the first two arguments of {ast.unparse(node.func)} change places", _first_two


def _without(name: str, statements: list[ast.stmt]) -> Iterator[tuple[str, Alter]]:
    for place, one in enumerate(statements):
        call = isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) and not _either(one.value)
        raised = isinstance(one, ast.Raise)
        if call or raised:
            yield f"`{ast.unparse(one)[:60]}` is left out", _removal(name, place)
        if isinstance(one, ast.Return) and one.value is not None and not _none(one.value):
            yield f"`{ast.unparse(one)[:60]}` gives None", _empty_return(name, place)


def _removal(name: str, place: int) -> Alter:
    def alter(twin: ast.AST) -> None:
        getattr(twin, name)[place] = ast.Pass()

    return alter


def _empty_return(name: str, place: int) -> Alter:
    def alter(twin: ast.AST) -> None:
        getattr(twin, name)[place].value = ast.Constant(None)

    return alter


def _exchange(one: str, other: str) -> Alter:
    def alter(twin: ast.AST) -> None:
        first, second = getattr(twin, one), getattr(twin, other)
        setattr(twin, one, second)
        setattr(twin, other, first)

    return alter


def _first_two(twin: ast.AST) -> None:
    assert isinstance(twin, ast.Call)
    twin.args[:2] = reversed(twin.args[:2])


def _unnegate(twin: ast.AST) -> None:
    """`not x` becomes `not (not x)`, which is true where x is."""
    assert isinstance(twin, ast.UnaryOp)
    twin.op = ast.Not()
    twin.operand = ast.UnaryOp(ast.Not(), twin.operand)


def _set(twin: ast.AST, name: str, value: object) -> None:
    setattr(twin, name, value)


def _name(operator: ast.AST) -> str:
    return type(operator).__name__


def _words(node: ast.BinOp) -> bool:
    return any(isinstance(side, ast.JoinedStr) for side in (node.left, node.right))


def _none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _either(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in {"LOG", "min", "max"}
