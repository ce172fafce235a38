"""A user's own measure: `module:function` on the image's Python path, called with outputs and with what is wanted."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads import user_code
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def score_by(name: str) -> "Callable[[Array, Array], Array]":
    """`score(given, wanted)` of the user's function. BadInput where it is not there, fails, or gives no shares."""

    def score(given: "Array", wanted: "Array") -> "Array":
        try:
            found = np.asarray(user_code.call(name, {"given": given, "wanted": wanted}), np.float64)
        except BadInput:
            raise
        except Exception as error:  # whatever a user's code raises: it would raise it again
            raise BadInput(f"evaluation.function {name} fails: {type(error).__name__}: {error}"[:500]) from error
        if found.shape != (len(given),) or not np.isfinite(found).all() or found.min() < 0 or found.max() > 1:
            raise BadInput(
                f"evaluation.function {name} must give a number from 0 to 1 for each of {len(given)} samples, "
                f"it gave {found.shape}{f' from {found.min():g} to {found.max():g}' if found.size else ''}"
            )
        return found

    return score
