"""Kubernetes' quantities: what a valid one looks like, and its exact value. Used wherever resources are counted."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,2})?$"
MAX_LENGTH = 32
_SMALLEST = Decimal("1e-9")

_FORM = re.compile(r"([+-]?[0-9]*+\.?[0-9]*+(?:[eE][+-]?[0-9]{1,9})?)([numkKMGTPE]?i?)")
# As Kubernetes has it, whatever is written: none is larger.
LARGEST = Decimal(2**63 - 1)
# A server takes texts of any length; of such a one the first digits say all.
LONGEST_TEXT = 256
_SUFFIXES = {
    **{name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
}


def parse_quantity(text: int | str) -> Decimal:
    """`2500m` -> 2.5, `16Gi` -> 17179869184; at most LARGEST, in either direction. Raises ValueError."""
    written = str(text) if not isinstance(text, int) else str(max(-LARGEST, min(LARGEST, text)))
    match = _FORM.fullmatch(written) if len(written) <= LONGEST_TEXT else None
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"not a quantity: {written[:64]!r}")
    try:
        amount = Decimal(match[1])
        # Before anything is computed: 1e999999999 is a number of a gigabyte.
        if amount.is_zero() or amount.adjusted() < -30:
            return Decimal(0) if amount.is_zero() else _SMALLEST.copy_sign(amount)
        amount = amount * _SUFFIXES[match[2]] if amount.adjusted() < 30 else LARGEST.copy_sign(amount)
    except ArithmeticError as error:
        raise ValueError(f"not a quantity: {written[:64]!r}") from error
    return max(-LARGEST, min(LARGEST, amount))


def _quantity(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and len(value) <= MAX_LENGTH and re.fullmatch(QUANTITY, value):
        return value
    raise ValueError(f"{value!r} is not an amount: write a number with a unit in quotes, such as '500m' or '16Gi'")


# An integer or a quantity such as 2500m or 16Gi, kept as it was written; never negative.
Quantity = Annotated[
    int | str,
    PlainValidator(_quantity),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY, "maxLength": MAX_LENGTH, "minimum": 0}),
]
