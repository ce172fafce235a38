"""Choice of the matrices that keep 8 bits: those that lose most of their outputs when rounded to 4.

A matrix's loss is the energy of its outputs' error over that of its outputs, tr(D H D') / tr(W H W') with the second
moments H of its inputs in the float model: what GPTQ (Frantar et al. 2022) makes small, before it does.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from workloads.language import linear
from workloads.language.layerwise import Layerwise
from workloads.quantize.language.inputs import Inputs
from workloads.quantize.language.rounding import Scheme, nearest

SHARE = 0.25  # of the weights keep 8 bits: five bits a weight on average
RECORD = "sensitivity.json"


def widths(
    source: Layerwise,
    calibration: Sequence[torch.Tensor],
    scheme: Scheme,
    keeps_float: Callable[[str], bool],
    at: Path,
) -> dict[str, int]:
    """Bits of each matrix by its layer's name. One pass over the float model, kept in `at` for the next attempt."""
    record = at / RECORD
    if not record.is_file():
        found = {"losses": dict(_losses(source, calibration, scheme, keeps_float))}
        staged = record.with_name(f".{RECORD}")
        staged.write_text(json.dumps(found, indent=1))
        staged.rename(record)
    losses: dict[str, list[float]] = json.loads(record.read_text())["losses"]
    return chosen({name: (loss, int(size)) for name, (loss, size) in losses.items()})


def chosen(losses: dict[str, tuple[float, int]], share: float = SHARE) -> dict[str, int]:
    """8 bits for the matrices of the largest losses, until they are `share` of all weights; 4 for the rest. Pure."""
    room = share * sum(size for _, size in losses.values())
    found = dict.fromkeys(losses, 4)
    for name, (_, size) in sorted(losses.items(), key=lambda one: (-one[1][0], one[0])):
        if size <= room:
            room -= size
            found[name] = 8
    return found


def _losses(
    source: Layerwise, calibration: Sequence[torch.Tensor], scheme: Scheme, keeps_float: Callable[[str], bool]
) -> "list[tuple[str, tuple[float, int]]]":
    hidden, found = source.begin(calibration), []
    for number in range(source.count):
        layer = source.layer(number)
        seen = Inputs(layer)
        hidden = source.through(layer, hidden)
        seen.close()
        for name, part in linear.parts(layer):
            whole = source.prefix(number) + name
            if keeps_float(whole):
                continue
            weight, moments = linear.matrix(part).double(), seen.moments[name]
            error = weight - nearest(weight.float(), scheme).matrix().double()
            energy = float(((weight @ moments) * weight).sum())
            found.append((whole, (float(((error @ moments) * error).sum()) / max(energy, 1e-30), weight.numel())))
    return found
