"""Accelerators by the names under which pods ask for them. Pure; read by the API, the server, the launchers."""

import re
from collections.abc import Mapping

from slipway.api.common.quantity import parse_quantity

# As the device plugins name them; a MIG slice (`mig-1g.5gb`, `mig-1c.3g.20gb.me`) or a shared GPU is one device.
_NAMES = re.compile(
    r"^(nvidia\.com/(gpu|gpu\.shared|mig-([0-9]+c\.)?[0-9]+g\.[0-9]+gb(\.me)?(\.shared)?)|amd\.com/gpu"
    r"|gpu\.intel\.com/(i915|xe)|habana\.ai/gaudi|aws\.amazon\.com/(neuroncore|neurondevice|neuron)"
    r"|huawei\.com/Ascend[0-9A-Za-z-]+)$"
)
# What PyTorch and ONNX Runtime compute on by CUDA and by ROCm, for which our images can be built.
_KNOWN = ("nvidia.com/", "amd.com/")


def accelerators(asked: Mapping[str, object]) -> dict[str, int]:
    """Accelerators among the resources asked for, with their number; those of amount 0 left out."""
    found = {name: int(parse_quantity(str(amount))) for name, amount in asked.items() if _NAMES.match(name)}
    return {name: amount for name, amount in found.items() if amount}


def unknown(asked: Mapping[str, object]) -> list[str]:
    """Accelerators asked for that are neither CUDA's nor ROCm's."""
    return sorted(name for name in accelerators(asked) if not name.startswith(_KNOWN))
