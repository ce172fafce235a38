"""Warm-up of an InferenceService: what a replica runs before the first request."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import MapBy, Model, Rule
from slipway.api.common.types import Uri

WARM_UP_FILE = "[.](npz|json)$"


class WarmUpMode(StrEnum):
    """Extent of a replica's warm-up."""

    FULL = "Full"
    SHAPES_ONLY = "ShapesOnly"
    NONE = "None"


class InputShape(Model):
    """The shape of one input."""

    name: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="The input's name.")
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(max_length=16)] = Field(
        description="All of its lengths; the first one counts rows where the model takes several, and may be 1."
    )


class WarmUp(Model):
    """Warm-up of a replica before it is ready. What it finds is a warning in status.servedModel."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.mode) || self.mode != 'None'"
            " || (!has(self.uri) && (!has(self.shapes) || size(self.shapes) == 0))",
            "with mode None nothing is run: remove uri and shapes, or choose Full or ShapesOnly",
            lambda warm_up: warm_up.mode is not WarmUpMode.NONE or (warm_up.uri is None and not warm_up.shapes),
        ),
        Rule(
            f"!has(self.uri) || self.uri.matches('{WARM_UP_FILE}')",
            "warmUp.uri is a file of rows: an .npz with an array for each input, or an inference request as .json",
            lambda warm_up: warm_up.uri is None or warm_up.uri.endswith((".npz", ".json")),
        ),
        *uris.read("uri", where="warmUp.uri"),
    )
    mode: WarmUpMode = Field(
        WarmUpMode.FULL,
        description="Full: rows are run, timed and compared. ShapesOnly: they are run and timed, and their values are "
        "not looked at. None: nothing is run. Without a comparison requests share a batch only where the model's graph "
        "itself proves that rows do not change each other.",
    )
    uri: Uri | None = Field(
        None,
        description="Rows to run, for example pvc://claim/rows.npz: an array for each input, or an inference request "
        "as .json. A replica that cannot run them is not ready. Invented when unset.",
    )
    shapes: Annotated[list[InputShape], Field(max_length=32), MapBy("name")] = Field(
        default_factory=list, description="Of inputs with free axes; several lengths are tried for those left out."
    )
