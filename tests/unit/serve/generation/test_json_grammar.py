"""Grammars of JSON schemas: what they allow is valid and compact, and what they cannot say is refused by name."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.serve.generation.text.json_grammar import Unsupported, any_json, grammar_of, literal
from workloads.serve.generation.text.tool_calls import calls_in, grammar_of_tools

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|::=|[()|*+?]|\{\d+(?:,\d*)?\}|[A-Za-z_]\w*')


class Sampler:
    """Texts of a grammar, chosen by chance: a reader of EBNF of its own, beside the engine's."""

    def __init__(self, grammar: str, seed: int) -> None:
        self.rules = {}
        for line in grammar.splitlines():
            name, _, body = line.partition(" ::= ")
            self.rules[name] = TOKEN.findall(body)
        self.random = random.Random(seed)

    def text(self, name: str = "root", depth: int = 0) -> str:
        out, _ = self._choice(self.rules[name], 0, depth)
        return out

    def _choice(self, tokens: list[str], place: int, depth: int) -> tuple[str, int]:
        """One of the alternatives from here to the closing parenthesis, short ones when it is deep."""
        level, start, alternatives = 0, place, []
        while place < len(tokens) and not (tokens[place] == ")" and level == 0):
            level += {"(": 1, ")": -1}.get(tokens[place], 0)
            if tokens[place] == "|" and level == 0:
                alternatives.append(tokens[start:place])
                start = place + 1
            place += 1
        alternatives.append(tokens[start:place])
        chosen = min(alternatives, key=self._weight) if depth > 12 else self.random.choice(alternatives)
        return self._sequence(chosen, depth), place

    def _weight(self, tokens: list[str]) -> int:
        return sum(token[0] not in '"[' for token in tokens)

    def _sequence(self, tokens: list[str], depth: int) -> str:
        out, place = "", 0
        while place < len(tokens):
            token, begin = tokens[place], place
            if token == "(":
                _, place = self._choice(tokens, place + 1, depth)
            place += 1
            least, most = 1, 1
            if place < len(tokens) and tokens[place][0] in "*+?{":
                sign = tokens[place]
                place += 1
                least, most = {"*": (0, 3), "+": (1, 3), "?": (0, 1)}.get(sign, (0, 0))
                if sign[0] == "{":
                    low, comma, high = sign[1:-1].partition(",")
                    least = int(low)
                    most = int(high) if high else least + 3 if comma else least
            times = least if depth > 12 else self.random.randint(least, min(most, least + 3))
            for _ in range(times):
                out += self._choice(tokens, begin + 1, depth + 1)[0] if token == "(" else self._one(token, depth + 1)
        return out

    def _one(self, token: str, depth: int) -> str:
        if token[0] == '"':
            return (
                token[1:-1].encode().decode("unicode_escape").encode("latin-1", "surrogatepass").decode()
                if ("\\" in token and token.isascii())
                else token[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            )
        if token[0] == "[":
            return self._character(token[1:-1])
        return self.text(token, depth)

    def _character(self, inside: str) -> str:
        if inside.startswith("^"):
            return self.random.choice("abz é{}[]:,🎉")
        ranges = re.findall(r"(\\?.)-(\\?.)", inside)
        rest = re.sub(r"\\?.-\\?.", "", inside).replace('\\"', '"').replace("\\\\", "\\")
        every = rest + "".join(chr(n) for low, high in ranges for n in range(ord(low), ord(high) + 1))
        return self.random.choice(every)


NEXT = {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}
SCHEMAS: list[Any] = [
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"const": 1}, "b": {"type": "null"}, "c": {"type": "boolean"}}},
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"type": "object"},
    {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4},
    {"type": "array", "maxItems": 0},
    {"type": "array", "items": {"enum": ["r\"ed\\", "grün", None, 1.5, {"x": [1]}]}},
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": ["string", "null"], "maxLength": 2},
    {"type": "integer", "minimum": -3, "maximum": 12},
    {"type": "integer", "minimum": 1},
    {"type": "number", "minimum": 0},
    {"anyOf": [{"type": "boolean"}, {"type": "object", "properties": {"\n\"k": True}, "required": ["\n\"k"]}]},
    {"$defs": {"node": {"type": "object", "properties": NEXT, "required": ["next"]}}, "$ref": "#/$defs/node"},
    {"title": "t", "description": "d", "allOf": [{"type": "boolean"}]},
    {},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_what_the_grammar_allows_is_valid_and_compact(schema: Any) -> None:
    grammar = grammar_of(schema)
    for seed in range(25):
        text = Sampler(grammar, seed).text()
        value = json.loads(text)
        jsonschema.validate(value, schema)
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        assert not re.search(r"\s", bare), "a blank between tokens: a small model spends its answer on them"


def test_any_json_is_an_object() -> None:
    for seed in range(20):
        assert isinstance(json.loads(Sampler(any_json(), seed).text()), dict)


# Took the engine minutes, and everybody with it.
FAR = {"type": "object", "properties": {f"p{n}": {"type": "string", "maxLength": 512} for n in range(40)}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"type": "string", "pattern": "^a+$"}, "pattern"),
        ({"type": "string", "format": "date"}, "format"),
        ({"type": "object", "properties": {"a": True}, "required": ["b"]}, "required"),
        ({"type": "object", "patternProperties": {"a": True}}, "patternProperties"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems"),
        ({"type": "string", "maxLength": 10**9}, "maxLength"),
        ({"type": "string", "minLength": -1}, "minLength"),
        ({"type": "integer", "maximum": 3}, "bounds"),
        ({"type": "integer", "minimum": 0.5, "maximum": 3}, "whole"),
        ({"$ref": "https://example.com/schema"}, "$ref"),
        ({"$ref": "#/$defs/none"}, "nothing"),
        ({"$ref": "#"}, "itself"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "itself"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "itself"),
        ({"oneOf": [{"type": "null"}]}, "oneOf"),
        ({"allOf": [True, True]}, "allOf"),
        ({"anyOf": []}, "anyOf"),
        ({"enum": []}, "enum"),
        ({"type": []}, "type"),
        ({"not": {}}, "type"),
        ("text", "no schema"),
        (None, "no schema"),
        (3, "no schema"),
        ({"type": "object", "properties": [1]}, "properties"),
        ({"enum": ["x" * 17_000]}, "bytes"),
        (FAR, "maxLength"),
        ({"type": "array", "items": {"type": "array", "maxItems": 100}, "maxItems": 100}, "maxItems"),
        ({"type": "object", "properties": {f"p{n}": True for n in range(700)}}, "rules"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_grammar_is_made_of_is_refused_by_name(schema: Any, words: str) -> None:
    with pytest.raises(Unsupported, match=re.escape(words)):
        grammar_of(schema)


def test_a_schema_that_is_too_deep_is_refused() -> None:
    deep: Any = True
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    with pytest.raises(Unsupported, match="deeper"):
        grammar_of(deep)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "anyOf", "$ref", "enum", "required", "minItems", "x"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=300)
def test_any_schema_becomes_a_grammar_or_is_refused_in_words(schema: Any) -> None:
    try:
        grammar = grammar_of(schema)
    except Unsupported:
        return
    assert all(" ::= " in line and line.split(" ::= ")[1] for line in grammar.splitlines())


@given(st.text())
def test_a_literal_is_one_line_and_closed(text: str) -> None:
    written = literal(text)
    assert "\n" not in written
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', written, re.DOTALL)


TOOLS = [
    {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}, "required": ["city"]}},
    {"name": "time", "parameters": None},
]  # fmt: skip


def test_a_forced_call_is_a_call_of_one_of_the_tools() -> None:
    grammar, names = grammar_of_tools(TOOLS), set()
    for seed in range(30):
        rest, calls = calls_in(Sampler(grammar, seed).text(), ["weather", "time"])
        assert rest == ""
        (call,) = calls
        names.add(call.name)
        if call.name == "weather":
            assert set(json.loads(call.arguments)) == {"city"}
    assert names == {"weather", "time"}


@pytest.mark.parametrize(
    ("text", "rest", "called"),
    [
        ('<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>', "", ["time"]),
        ("I look. " + '<tool_call>{"name":"time","arguments":{}}</tool_call>' * 2, "I look.", ["time", "time"]),
        ('{"name": "time", "parameters": {"a": 1}}', "", ["time"]),
        ('{"name": "unknown", "arguments": {}}', '{"name": "unknown", "arguments": {}}', []),
        ("<tool_call>nonsense</tool_call>", "<tool_call>nonsense</tool_call>", []),
        ("no call", "no call", []),
        ("[" * 100_000, "[" * 100_000, []),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_calls_in_an_answer(text: str, rest: str, called: list[str]) -> None:
    found, calls = calls_in(text, ["time", "weather"])
    assert (found, [call.name for call in calls]) == (rest, called)
