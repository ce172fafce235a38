"""Cache key of an engine: all that it is made from. Change any part, and it is another engine."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from workloads.serve.signature import Signature

# For axes beside the batch that may have any length: TensorRT must be told how far they go, and where it is fastest.
LONGEST = 512
BEST = 128


@dataclass(frozen=True)
class Range:
    """Shapes of one input: the least, the one that is optimised for, the largest."""

    name: str
    least: tuple[int, ...]
    best: tuple[int, ...]
    most: tuple[int, ...]


@dataclass(frozen=True)
class EngineKey:
    """`architecture` is the GPU's (sm89) or `portable`; `library` is name and exact version; `flags` are sorted."""

    model: str
    architecture: str
    library: str
    profile: tuple[Range, ...]
    flags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """32 hexadecimal characters."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()[:32]

    def document(self) -> dict[str, Any]:
        """Content of the key for engine.json, and for people who wonder why an engine was built again."""
        return asdict(self)


def profile_for(signature: Signature, largest: int, longest: int = LONGEST) -> tuple[Range, ...]:
    """One to `largest` rows, best at the largest; other free axes from one to `longest`."""
    rows, ranges = signature.batched, []
    free = (1, min(BEST, longest), longest)
    for tensor in signature.inputs:
        choices = [
            (axis,) * 3 if isinstance(axis, int) else (1, largest, largest) if rows and place == 0 else free
            for place, axis in enumerate(tensor.axes)
        ]
        least, best, most = (tuple(choice[place] for choice in choices) for place in range(3))
        ranges.append(Range(tensor.name, least, best, most))
    return tuple(ranges)
