"""Program that renders chat templates, in a process of its own with limits of memory and time. Run by chat_template.py.

Requests and answers are lines of JSON over stdin and stdout. jinja's sandbox keeps a template from reaching Python's
insides; it does not keep one from doubling a text forty times or looping for ever: that the process's limits do.
"""

import contextlib
import json
import resource
import sys
from datetime import datetime
from typing import Any

MEMORY = 512 << 20  # bytes of address space
OUTPUT = 4 << 20  # characters of a rendered chat


def marks(nonce: str) -> tuple[str, str]:
    """Marks around an assistant's words; the nonce keeps a message from holding one."""
    return f"\x02{nonce}\x03", f"\x02/{nonce}\x03"


def environment(nonce: str) -> Any:
    """Jinja as Hugging Face's tokenizers set it up, sandboxed, with their functions and block tags."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    starts, ends = marks(nonce)

    class Generation(Extension):
        """`{% generation %}`: what stands inside is an assistant's own words."""

        tags = {"generation"}  # noqa: RUF012 (jinja's own form)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

        def _marked(self, caller: Any) -> str:
            return starts + str(caller()) + ends

    def refuse(words: Any) -> None:
        raise TemplateError(str(words))

    def as_json(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = as_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(str(form)[:100])
    return made


def rendered(template: Any, variables: dict[str, Any]) -> str:
    """The text. ValueError once it is longer than OUTPUT: the rest is not rendered."""
    parts, length = [], 0
    for part in template.generate(**variables):
        length += len(part)
        if length > OUTPUT:
            raise ValueError(f"more than {OUTPUT} characters")
        parts.append(part)
    return "".join(parts)


def main() -> None:
    """Answer requests until stdin is closed."""
    made, source, template = environment(sys.argv[1]), None, None
    datetime.now().astimezone()  # reads the zone's file
    for ready in ("{{ [1] | tojson | length }}", "{{ raise_exception('once') }}"):  # modules that jinja imports late
        with contextlib.suppress(Exception):
            made.from_string(ready).render()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["template"] != source:
                template, source = made.from_string(asked["template"]), asked["template"]
            answer = {"text": rendered(template, asked["variables"])}
        except MemoryError:
            answer = {"error": "it needs more memory than a chat may"}
        except Exception as error:  # whatever a template raises is its own fault
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
