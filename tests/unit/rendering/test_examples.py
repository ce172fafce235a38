"""Objects rendered of the examples: the same bytes as before, and pods of every kind as restricted as one another."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.rendering.examples import DIGESTS, digests, rendered

Object = dict[str, Any]
MADE = rendered()


def test_examples_are_rendered_to_the_bytes_that_were_recorded() -> None:
    """`make rendered` records them anew, after a change that is meant."""
    known, now = json.loads(DIGESTS.read_text()), digests()
    changed = {example: made for example, made in now.items() if known.get(example) != made}
    assert (changed, sorted(known)) == ({}, sorted(now)), "meant? then `make rendered`, and name it in the commit"
