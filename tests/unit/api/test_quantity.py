"""Quantities are what Kubernetes takes them for, whichever way they are written."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.common.quantity import LARGEST, MAX_LENGTH, QUANTITY, parse_quantity

# k8s.io/apimachinery/pkg/api/resource/quantity.go: the binary suffixes begin with a large K, the decimal ones with a
# small one.
SUFFIXES = {
    "": 1,
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{name: 1000**power for power, name in enumerate("kMGTPE", start=1)},
    **{name: 1024**power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", ["2", "1.5", ".5", "10."])
def test_every_suffix_that_the_schema_takes_has_its_value(number: str, suffix: str) -> None:
    """`Ki` was refused: nodes tell their memory in it, so no gang found room by memory."""
    assert re.fullmatch(QUANTITY, number + suffix)
    assert parse_quantity(number + suffix) == min(LARGEST, Decimal(number) * SUFFIXES[suffix])


@pytest.mark.parametrize("text", ["", "Gi", "1K", "1ki", "1 Gi", "1GB", "1e", "--1", "1mi", "0x10", "1.2.3", "nan"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    assert not re.fullmatch(QUANTITY, text)
    with pytest.raises((ValueError, ArithmeticError)):
        parse_quantity(text)


@given(st.from_regex(QUANTITY, fullmatch=True).filter(lambda text: len(text) <= MAX_LENGTH and text.isascii()))
def test_what_the_schema_takes_is_understood(text: str) -> None:
    assert parse_quantity(text) >= 0


def test_exponents_and_plain_numbers() -> None:
    assert parse_quantity("1e3") == parse_quantity("1E3") == parse_quantity(1000) == 1000
    assert parse_quantity("12e-3") == Decimal("0.012")
    assert parse_quantity("1E") == 10**18
