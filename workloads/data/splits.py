"""Division of a data set into training and held-out parts: one rule for all loaders, by the names people use.

A folder, a file, a value of a table's column or a split of Hugging Face's is called train, validation or test in some
spelling and case. The first kind of HELD_OUT that is there is held out; another one is kept out of the training, for
a test of one's own. `dataset.splits` names them where this rule does not. Pure: names in, names out.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slipway.api.common.sources import DatasetChoice
from workloads.errors import BadInput

TRAINING = frozenset({"train", "training", "trn"})
# In the order in which they are taken as held out.
HELD_OUT = (
    frozenset({"validation", "valid", "val", "validate"}),
    frozenset({"dev", "development"}),
    frozenset({"eval", "evaluation", "evaluate"}),
    frozenset({"holdout", "heldout"}),
    frozenset({"test", "testing", "tst"}),
)
# What lies beside data and is none, by the first word of its name.
BESIDE = frozenset(
    {"readme", "license", "licence", "copying", "notice", "citation", "authors", "changelog", "contributing"}
)
_DECORATION = r"([ _-]?(set|data|split|images|\d+))*"


@dataclass(frozen=True)
class Parts:
    """Names of splits by use. Without `held_out`, a part of the training data is held out by the loader."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    unused: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Description of the parts in words, for the log and the report."""
        said = f"trained on {_listed(self.training)}, held out {_listed(self.held_out) or 'a part of it'}"
        return said + (f", not used {_listed(self.unused)}" if self.unused else "")


def kind_of(name: str) -> int | None:
    """Kind of a name: -1 for training data, its place in HELD_OUT, or None for any other name."""
    plain = re.sub(r"held[ _-]out|hold[ _-]out", "holdout", name.strip().lower())
    for kind, words in enumerate((TRAINING, *HELD_OUT), start=-1):
        if any(re.fullmatch(word + _DECORATION, plain) for word in words):
            return kind
    return None


def kind_of_file(name: str) -> int | None:
    """Kind of a file's name, which may have more words: wiki.train.tokens, test-00000-of-00002.parquet.

    A whole word counts, so constraint.md is none; of several the last one.
    """
    words = re.split(r"[^a-z]+", re.sub(r"held[ _.-]out|hold[ _.-]out", "holdout", name.lower()))
    found = [kind for word in words if (kind := kind_of(word)) is not None]
    return found[-1] if found else None


def chosen_parts(choice: DatasetChoice, names: Sequence[str], where: str) -> Parts | None:
    """Parts that dataset.splits asks for; None where it asks for nothing. BadInput for a name that is not there."""
    said = choice.splits
    if said is None or (said.training is None and said.held_out is None and not said.ignore):
        return None
    if said.ignore:
        return Parts(tuple(names), ())
    for name in (said.training, said.held_out):
        if name is not None and name not in names:
            raise BadInput(f"{where}: dataset.splits names {name!r}, there is {_listed(names) or 'nothing'}")
    held = (said.held_out,) if said.held_out is not None else ()
    training = (said.training,) if said.training is not None else tuple(one for one in names if one not in held)
    return Parts(training, held, tuple(name for name in names if name not in {*training, *held}))


def by_name(names: Iterable[str], kinds: Iterable[int | None]) -> Parts | None:
    """Parts by the kind of each name; None where no name is for training or none is held out."""
    pairs = list(zip(names, kinds, strict=True))
    training = tuple(name for name, kind in pairs if kind == -1)
    held = sorted({kind for _, kind in pairs if kind is not None and kind >= 0})
    if not training or not held:
        return None
    chosen = tuple(name for name, kind in pairs if kind == held[0])
    return Parts(training, chosen, tuple(name for name, _ in pairs if name not in {*training, *chosen}))


def of_files(choice: DatasetChoice, names: Sequence[str], where: str) -> Parts:
    """Splits of a folder's files. BadInput where some are named as splits and others are not."""
    data = [name for name in names if re.split(r"[^a-z]+", name.lower().rpartition("/")[2])[0] not in BESIDE] or list(
        names
    )
    found = chosen_parts(choice, data, where)
    if found is None:
        kinds = [kind_of_file(name) for name in data]
        found = by_name(data, kinds)
        other = [name for name, kind in zip(data, kinds, strict=True) if kind is None]
        if found is not None and other:
            raise BadInput(
                f"{where}: {_listed(found.training)} and {_listed(found.held_out)} are named as splits, and what is "
                f"{_listed(other)}? Name it so, move it away, or set dataset.splits (ignore: true takes all as one)"
            )
    found = found or Parts(tuple(data), ())
    beside = tuple(name for name in names if name not in data)
    return Parts(found.training, found.held_out, (*found.unused, *beside))


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
