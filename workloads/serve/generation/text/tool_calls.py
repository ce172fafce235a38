"""Calls of tools in an answer: asked for by the chat template, or by a grammar where the client wants one for certain.

Models write calls in forms of their own. Read are `<tool_call>{"name", "arguments"}</tool_call>`, which Hermes' and
Qwen's templates ask for, and an answer that is one such object, as Llama's do and as the grammar makes it.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.serve.generation.text.json_grammar import Grammar, Unsupported, compact, literal

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class ToolCall:
    """A call: name of the tool, and its arguments as JSON text."""

    name: str
    arguments: str

    def document(self, index: int | None = None) -> dict[str, Any]:
        """OpenAI's form; with an index within a stream's delta."""
        called = {"name": self.name, "arguments": self.arguments}
        made = {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": called}
        return made if index is None else {"index": index, **made}


def grammar_of_tools(tools: Sequence[Mapping[str, Any]]) -> str:
    """Grammar of one call of any of these tools. Raises Unsupported."""
    rules, calls = {}, []
    for number, tool in enumerate(tools):
        try:
            made = Grammar(tool.get("parameters") or {}, f"t{number}x")
        except Unsupported as error:
            raise Unsupported(f"parameters of the tool {tool['name']}: {error}") from error
        rules.update(made.rules)
        calls.append(f"{literal(compact({'name': tool['name']})[:-1] + ',')} {literal(compact('arguments') + ':')} "
                     f'{made.root} "}}"')  # fmt: skip
    whole = Grammar(True)
    whole.rules = {**rules, "call": " | ".join(calls)}
    whole.root = "call"
    return whole.text("root")


def calls_in(text: str, names: Sequence[str]) -> tuple[str, list[ToolCall]]:
    """The answer's text without its calls, and the calls. An answer that calls no known tool stays as it is."""
    if OPEN in text:
        before, *pieces = text.split(OPEN)
        found = [_call(piece.partition(CLOSE)[0], names) for piece in pieces]
        if all(found):
            return before.strip(), [one for one in found if one is not None]
        return text, []
    whole = _call(text, names)
    return ("", [whole]) if whole is not None else (text, [])


def _call(text: str, names: Sequence[str]) -> ToolCall | None:
    try:
        call = json.loads(text.strip())
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or call.get("name") not in names:
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    return ToolCall(call["name"], arguments if isinstance(arguments, str) else compact(arguments))
