"""Program made of a function: its source travels, with its arguments, and is run as a script in each process.

Only the source travels: no closure, no global of its module, no default from outside. What is used and not defined
inside is refused here, by name, and not by a NameError in a pod an hour later.
"""

import ast
import builtins
import inspect
import json
import symtable
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.api.common.containers.env import LONGEST_WORD
from slipway.client.errors import FunctionError

# Written to a file and executed from there: tracebacks have lines, and processes that spawn others find their program.
_START = """
import fcntl, hashlib, os, pathlib, subprocess, sys, tempfile
text, packages = sys.argv[1], sys.argv[2:]
name = hashlib.sha256(text.encode()).hexdigest()[:16]
root = pathlib.Path(tempfile.gettempdir()) / f"slipway-{os.getuid()}-{name}"
root.mkdir(mode=0o700, exist_ok=True)
with (root / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    here = root / "packages"
    if packages and not (root / "installed").exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-cache-dir", "--target", str(here), *packages]
        if subprocess.run(pip).returncode:
            sys.exit(f"pip could not install {', '.join(packages)}: see its words above")
        (root / "installed").touch()
    program = root / "function.py"
    program.write_text(text)
if packages:
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (str(here), os.environ.get("PYTHONPATH")) if p)
os.execv(sys.executable, [sys.executable, "-u", str(program)])
""".strip()


@dataclass(frozen=True)
class Function:
    """A function, its arguments by name (JSON values), and packages that pip installs before it is called."""

    call: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    packages: Sequence[str] = ()

    def command(self) -> list[str]:
        """Words of a container's command. Raises FunctionError."""
        return ["python", "-c", _START, self.program(), *self.packages]

    def program(self) -> str:
        """Text of the script: the function's source and one call. Raises FunctionError."""
        name, source = _source(self.call)
        unknown = sorted(_unknown_names(_without_annotations(source)))
        if unknown:
            raise FunctionError(
                f"{name} uses {', '.join(unknown)}, which its own source does not define: import or define it inside "
                "the function, or pass it as an argument (only the function's source travels)"
            )
        # Names that only annotations use need not be there.
        head = "from __future__ import annotations\n\n" if _unknown_names(source) else ""
        program = f"{head}{source}\n\nif __name__ == '__main__':\n    {name}(**{_literal(name, self._bound(name))})\n"
        if len(program) > LONGEST_WORD:
            raise FunctionError(
                f"{name} with its arguments has {len(program)} characters, and {LONGEST_WORD} is the most: put data "
                "into a file on a claim, or the code into an image"
            )
        return program

    def _bound(self, name: str) -> dict[str, Any]:
        try:
            inspect.signature(self.call).bind(**self.arguments)
        except TypeError as error:
            raise FunctionError(f"{name}: {error}") from None
        return dict(self.arguments)


def _source(call: Callable[..., Any]) -> tuple[str, str]:
    """Name and source of a plain function. Raises FunctionError."""
    if not inspect.isfunction(call):
        raise FunctionError(f"{call!r} is no function written with def: give one")
    name = call.__name__
    if name == "<lambda>":
        raise FunctionError("a lambda has no source of its own: write it as a function with def")
    if inspect.iscoroutinefunction(call) or inspect.isgeneratorfunction(call):
        raise FunctionError(f"{name} is a coroutine or a generator: give a function that runs when it is called")
    if call.__closure__:
        kept = ", ".join(call.__code__.co_freevars)
        raise FunctionError(f"{name} keeps {kept} of the function around it: pass it as an argument")
    try:
        source = textwrap.dedent(inspect.getsource(call))
    except (OSError, TypeError):
        raise FunctionError(
            f"the source of {name} cannot be read: define it in a file or a notebook's cell, not by exec or python -c"
        ) from None
    try:
        tree = ast.parse(source)
    except SyntaxError:
        raise FunctionError(f"the source of {name} does not stand alone: define it at the top of a module") from None
    if not (len(tree.body) == 1 and isinstance(tree.body[0], ast.FunctionDef) and tree.body[0].name == name):
        raise FunctionError(f"the source of {name} is another function's (a decorator replaced it): give that one")
    return name, source


def _without_annotations(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.unparse(tree)


def _unknown_names(source: str) -> set[str]:
    """Names that some part of the source takes from outside, apart from Python's own."""
    top = symtable.symtable(source, "function.py", "exec")
    defined = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_namespace()}
    # What a function declares global, its source may define itself.
    defined |= {
        symbol.get_name()
        for table in _tables(top)
        for symbol in table.get_symbols()
        if symbol.is_declared_global() and symbol.is_assigned()
    }
    used = {
        symbol.get_name()
        for table in _tables(top)
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or table is top)
    }
    module = {"__name__", "__file__", "__builtins__", "__doc__"}
    return used - defined - set(dir(builtins)) - module


def _tables(table: symtable.SymbolTable) -> list[symtable.SymbolTable]:
    return [table, *(below for child in table.get_children() for below in _tables(child))]


def _literal(name: str, arguments: Mapping[str, Any]) -> str:
    """Python's text of JSON values."""
    try:
        same = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise FunctionError(
            f"the arguments of {name} are no JSON values ({error}): give numbers, texts and lists"
        ) from None
    return repr(same)
