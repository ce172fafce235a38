"""Grammar (EBNF as xgrammar reads it) of the JSON that a schema allows, compact: without a blank between tokens.

Engines compile schemas themselves, but one that they cannot read kills OpenVINO's whole pipeline, and theirs allow
blanks without end, on which a small model spends its whole answer. What is not known here is refused by name, so that
no answer breaks a rule that its reader counts on. All names of properties come in the schema's order.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

# An engine compiles a grammar while everybody waits for their next token: these keep that below a second. Without the
# bound of repeats a schema of 400 strings of at most 512 characters took minutes.
LARGEST = 16 << 10  # bytes of a schema
MOST_RULES = 600
MOST_REPEATS = 2048  # of characters or items that a schema counts, those of items of items multiplied
MOST_NUMBERS = 512  # of a range of whole numbers, which is listed
DEPTH = 32

ANNOTATIONS = frozenset(
    [
        "title",
        "description",
        "default",
        "examples",
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
        "deprecated",
        "readOnly",
        "writeOnly",
        "discriminator",
        "$anchor",
    ]
)
KNOWN = {
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum"},
    "boolean": set(),
    "null": set(),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}
BASE = {
    "hex": "[0-9a-fA-F]",
    "char": '[^"\\\\\\x00-\\x1f] | "\\\\" (["\\\\/bfnrt] | "u" hex hex hex hex)',
    "string": '"\\"" char* "\\""',
    "natural": '"0" | [1-9] [0-9]{0,15}',
    "integer": '"-"? natural',
    "magnitude": 'natural ("." [0-9]{1,15})? ([eE] [+-]? [0-9]{1,3})?',
    "number": '"-"? magnitude',
    "member": 'string ":" value',
    "object": '"{" (member ("," member)*)? "}"',
    "array": '"[" (value ("," value)*)? "]"',
    "value": 'object | array | string | number | "true" | "false" | "null"',
}
_KINDS = {"string": "string", "number": "number", "object": "object", "array": "array", "null": '"null"'}


class Unsupported(ValueError):  # noqa: N818 (a refusal, no fault)
    """A schema that is no schema, or holds what no grammar is made of; in words for the client."""


def literal(text: str) -> str:
    """A terminal of the grammar."""
    written = []
    for character in text:
        if character in '"\\':
            written.append("\\" + character)
        elif character < " " or character == "\x7f":
            written.append(f"\\x{ord(character):02x}")
        else:
            written.append(character)
    return f'"{"".join(written)}"'


def compact(value: Any) -> str:
    """A JSON value as the grammar writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def any_json() -> str:
    """Grammar of any object: response_format json_object."""
    return _written({"root": "object"})


def grammar_of(schema: Any) -> str:
    """Grammar of a schema. Raises Unsupported."""
    return Grammar(schema).text("root")


def _written(rules: Mapping[str, str]) -> str:
    return "\n".join(f"{name} ::= {body}" for name, body in {**rules, **BASE}.items()) + "\n"


class Grammar:
    """Rules of one schema document; more rules can be added, which call it by `root`."""

    def __init__(self, schema: Any, prefix: str = "s") -> None:
        try:
            size = len(json.dumps(schema))
        except (TypeError, ValueError, RecursionError) as error:
            raise Unsupported(f"the schema is no JSON ({error})") from error
        if size > LARGEST:
            raise Unsupported(f"the schema has {size} bytes, at most {LARGEST} are taken")
        self._schema, self._prefix = schema, prefix
        self.rules: dict[str, str] = {}
        self._references: dict[str, str] = {}
        self._times, self._repeats = 1, 0
        self._alternatives: dict[str, set[str]] = {}  # rules that a rule may be without a character before
        self.root = self._rule(schema, 0)
        self._require_progress()

    def text(self, name: str) -> str:
        """The whole grammar, its start `name`."""
        return _written({name: self.root, **self.rules})

    def _new(self) -> str:
        if len(self.rules) >= MOST_RULES:
            raise Unsupported(f"the schema needs more than {MOST_RULES} rules")
        name = f"{self._prefix}{len(self.rules)}"
        self.rules[name] = ""
        return name

    def _rule(self, schema: Any, depth: int) -> str:
        name = self._new()
        self.rules[name] = self._body(schema, depth, name)
        return name

    def _body(self, schema: Any, depth: int, name: str) -> str:
        if depth > DEPTH:
            raise Unsupported(f"the schema is deeper than {DEPTH} levels")
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, Mapping):
            raise Unsupported(f"{compact(schema)[:60]} is no schema")
        keywords = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
        for word in ("$ref", "enum", "const", "anyOf", "oneOf", "allOf"):
            if word in keywords:
                return self._combined(word, keywords, schema, depth, name)
        kinds = keywords.pop("type", None) or _guessed(keywords)
        listed = kinds if isinstance(kinds, list) else [kinds]
        if not listed:
            raise Unsupported("type is an empty list")
        return " | ".join(self._typed(kind, keywords, listed, depth) for kind in listed)

    def _combined(self, word: str, keywords: Mapping[str, Any], schema: Any, depth: int, name: str) -> str:
        value = keywords[word]
        beside = sorted(set(keywords) - {word, "type"})
        if beside:
            raise Unsupported(f"{beside[0]} beside {word} is not supported")
        if word == "const":
            return literal(compact(value))
        if not isinstance(value, list) or not value:
            if word == "$ref":
                return self._reference(value, depth, name)
            raise Unsupported(f"{word} must be a list that is not empty")
        if word == "enum":
            return " | ".join(literal(compact(one)) for one in value)
        if word == "oneOf" and "discriminator" not in schema:
            raise Unsupported("oneOf without a discriminator is not supported: use anyOf")
        if word == "allOf" and len(value) > 1:
            raise Unsupported("allOf of several schemas is not supported: write them as one")
        rules = [self._rule(one, depth + 1) for one in value]
        self._alternatives.setdefault(name, set()).update(rules)
        return " | ".join(rules)

    def _reference(self, pointer: Any, depth: int, name: str) -> str:
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            raise Unsupported(f"$ref {compact(pointer)[:80]}: only those within the schema (#/$defs/...) are followed")
        if pointer not in self._references:
            found = self._schema
            for escaped in pointer.removeprefix("#").split("/")[1:]:
                part = escaped.replace("~1", "/").replace("~0", "~")
                if not isinstance(found, Mapping) or part not in found:
                    raise Unsupported(f"$ref {pointer[:80]} points at nothing")
                found = found[part]
            self._references[pointer] = rule = self._new()
            self.rules[rule] = self._body(found, depth + 1, rule)
        self._alternatives.setdefault(name, set()).add(self._references[pointer])
        return self._references[pointer]

    def _typed(self, kind: Any, keywords: Mapping[str, Any], kinds: Sequence[Any], depth: int) -> str:
        if not isinstance(kind, str) or kind not in KNOWN:
            raise Unsupported(f"type {compact(kind)[:40]} is none of {', '.join(KNOWN)}")
        known = set().union(*(KNOWN.get(one, set()) for one in kinds if isinstance(one, str)))
        strange = sorted(set(keywords) - known)
        if strange:
            raise Unsupported(f"{strange[0]} is not supported for type {kind}")
        if kind == "object":
            return self._object(keywords, depth)
        if kind == "array":
            return self._array(keywords, depth)
        if kind == "string":
            return f'"\\"" char{_counted(*self._bounds(keywords, "minLength", "maxLength"))} "\\""'
        if kind == "integer":
            return _integers(keywords.get("minimum"), keywords.get("maximum"))
        if kind == "number" and "minimum" in keywords:
            if keywords["minimum"] != 0 or "maximum" in keywords:
                raise Unsupported("a number's minimum may be 0 or unset")
            return "magnitude"
        return {"boolean": '"true" | "false"', **_KINDS}[kind]

    def _array(self, keywords: Mapping[str, Any], depth: int) -> str:
        least, most = self._bounds(keywords, "minItems", "maxItems")
        outer, self._times = self._times, self._times * max(1, least, most or 0)
        item = self._rule(keywords["items"], depth + 1) if "items" in keywords else "value"
        self._times = outer
        if most == 0:
            return '"[]"'
        more = f'("," {item}){_counted(max(least - 1, 0), None if most is None else most - 1)}'
        return f'"[" {item} {more} "]"' if least else f'"[" ({item} {more})? "]"'

    def _object(self, keywords: Mapping[str, Any], depth: int) -> str:
        properties, required = keywords.get("properties", {}), keywords.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise Unsupported("properties must be an object, and required a list")
        missing = [one for one in required if one not in properties]
        if missing:
            raise Unsupported(f"required names {compact(missing[0])[:60]}, which is none of the properties")
        if not properties:
            return "object" if keywords.get("additionalProperties", True) is not False else '"{}"'
        # From the last property to the first: what may follow when something stands before it, and when nothing does.
        after, first = '""', '""'
        for key, schema in reversed(list(properties.items())):
            member = f"{literal(compact(key) + ':')} {self._rule(schema, depth + 1)}"
            optional = key not in required
            names = self._new(), self._new()
            self.rules[names[0]] = f'"," {member} {after}' + (f" | {after}" if optional else "")
            self.rules[names[1]] = f"{member} {after}" + (f" | {first}" if optional else "")
            after, first = names
        return f'"{{" {first} "}}"'

    def _bounds(self, keywords: Mapping[str, Any], least: str, most: str) -> tuple[int, int | None]:
        found = _bounds(keywords, least, most)
        self._repeats += self._times * max(found[0], found[1] or 0)
        if self._repeats > MOST_REPEATS:
            raise Unsupported(f"with {most if found[1] else least} the schema counts more than {MOST_REPEATS} repeats")
        return found

    def _require_progress(self) -> None:
        """Refuse a rule that may be itself without a character: no engine can follow it."""
        done: set[str] = set()
        for start in self._alternatives:
            path: list[tuple[str, list[str]]] = [(start, sorted(self._alternatives[start]))]
            while path:
                name, left = path[-1]
                if not left:
                    done.add(name)
                    path.pop()
                    continue
                following = left.pop()
                if any(following == one for one, _ in path):
                    raise Unsupported("the schema refers to itself with nothing between")
                if following not in done and following in self._alternatives:
                    path.append((following, sorted(self._alternatives[following])))


def _guessed(keywords: Mapping[str, Any]) -> str:
    if {"properties", "required"} & set(keywords):
        return "object"
    if "items" in keywords:
        return "array"
    raise Unsupported(f"a schema with {', '.join(sorted(keywords))[:60]} needs a type")


def _bounds(keywords: Mapping[str, Any], least: str, most: str) -> tuple[int, int | None]:
    found = keywords.get(least, 0), keywords.get(most)
    for name, value in ((least, found[0]), (most, found[1])):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise Unsupported(f"{name} must be a number from 0 on")
    if found[1] is not None and found[0] > found[1]:
        raise Unsupported(f"{least} is more than {most}")
    return found


def _counted(least: int, most: int | None) -> str:
    if most is None:
        return "*" if least == 0 else "+" if least == 1 else f"{{{least},}}"
    return f"{{{least},{most}}}"


def _integers(least: Any, most: Any) -> str:
    for value in (least, most):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise Unsupported("bounds of an integer must be whole numbers")
    if least is not None and most is not None:
        if least > most:
            raise Unsupported("minimum is more than maximum")
        if most - least >= MOST_NUMBERS:
            raise Unsupported(f"a range of more than {MOST_NUMBERS} whole numbers is not supported")
        return " | ".join(f'"{number}"' for number in range(least, most + 1))
    if most is not None or least not in (None, 0, 1):
        raise Unsupported("an integer's bounds are both given, or a minimum of 0 or 1")
    return {None: "integer", 0: "natural", 1: "[1-9] [0-9]{0,15}"}[least]
