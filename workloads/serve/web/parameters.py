"""Parameters of a request to `/predict`, in its query: `?score=0.5&overlap=0.4`."""

from dataclasses import replace
from urllib.parse import parse_qsl

from workloads.serve.errors import Invalid
from workloads.serve.web.pictures.detection import BoxChoice

NAMES = ("score", "overlap")
MOST = 16


def wanted_by(query: bytes, otherwise: BoxChoice) -> BoxChoice:
    """Choice of the boxes that a request wants to be told. Invalid for a parameter that is not known, or no share."""
    if not query:
        return otherwise
    try:
        given = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MOST, strict_parsing=True)
    except (UnicodeDecodeError, ValueError) as error:
        raise Invalid(f"the query cannot be read: {error}") from error
    shares: dict[str, float] = {}
    for name, text in given:
        if name not in NAMES or name in shares:
            raise Invalid(f"parameter {name!r}: there are {' and '.join(NAMES)}, each once")
        shares[name] = _share(name, text)
    return replace(otherwise, **shares)


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError as error:
        raise Invalid(f"parameter {name} is a number from 0 to 1, not {text!r}") from error
    if not 0 <= share <= 1:
        raise Invalid(f"parameter {name} is a number from 0 to 1, not {text!r}")
    return share
