"""Resources of a container, the requests that no node can meet, and the accelerators among them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule
from slipway.api.common.quantity import Quantity, parse_quantity
from slipway.api.common.types import LABEL_KEY

PLAIN_NAMES = ("cpu", "memory", "ephemeral-storage")
# The container runtime's own smallest limit is a few MiB; less is a forgotten or a wrong unit (`512m` is half a byte).
SMALLEST_MEMORY = 4 * 1024 * 1024

# As the device plugins name them; a MIG slice (`mig-1g.5gb`, `mig-1c.3g.20gb.me`) or a shared GPU is one device.
_ACCELERATORS = re.compile(
    r"^(nvidia\.com/(gpu|gpu\.shared|mig-([0-9]+c\.)?[0-9]+g\.[0-9]+gb(\.me)?(\.shared)?)|amd\.com/gpu"
    r"|gpu\.intel\.com/(i915|xe)|habana\.ai/gaudi|aws\.amazon\.com/(neuroncore|neurondevice|neuron)"
    r"|huawei\.com/Ascend[0-9A-Za-z-]+)$"
)
# What PyTorch and ONNX Runtime compute on by CUDA and by ROCm, for which our images can be built.
_BY_TORCH = ("nvidia.com/", "amd.com/")

ResourceName = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY)]
ResourceList = Annotated[dict[ResourceName, Quantity], Field(max_length=32)]

_KNOWN_NAME = (
    "['cpu', 'memory', 'ephemeral-storage'].exists(n, n == k) || k.startsWith('hugepages-')"
    f" || (k.contains('/') && k.matches('{LABEL_KEY}'))"
)


def _named(resources: "Resources") -> bool:
    return all(
        name in PLAIN_NAMES or name.startswith("hugepages-") or "/" in name
        for name in (*(resources.limits or {}), *(resources.requests or {}))
    )


def _within_limits(resources: "Resources") -> bool:
    limits = resources.limits or {}
    return all(
        name not in limits or parse_quantity(amount) <= parse_quantity(limits[name])
        for name, amount in (resources.requests or {}).items()
    )


def _whole_devices(resources: "Resources") -> bool:
    limits, requests = resources.limits or {}, resources.requests or {}
    devices = {name for name in (*limits, *requests) if "/" in name}
    return all(
        name in limits
        and parse_quantity(limits[name]) % 1 == 0
        and parse_quantity(requests.get(name, limits[name])) == parse_quantity(limits[name])
        for name in devices
    )


def _enough_memory(resources: "Resources") -> bool:
    amounts: list[Any] = [asked.get("memory") for asked in (resources.limits or {}, resources.requests or {})]
    return all(amount is None or parse_quantity(amount) >= SMALLEST_MEMORY for amount in amounts)


class Resources(Model):
    """Resource requests and limits of a container."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            " && ".join(
                f"(!has(self.{field}) || self.{field}.all(k, {_KNOWN_NAME}))" for field in ("limits", "requests")
            ),
            "a resource is cpu, memory, ephemeral-storage, hugepages-* or has a domain: write nvidia.com/gpu, not gpu",
            _named,
        ),
        # CEL compares quantities from Kubernetes 1.29 only: such a rule would make the CRD invalid on older servers.
        Rule(None, "requests must not be above limits: raise the limits or lower the requests", _within_limits),
        Rule(
            None,
            "devices such as nvidia.com/gpu are whole numbers in limits; requests, if set, equal them",
            _whole_devices,
        ),
        Rule(
            None,
            "memory below 4Mi starts no container: add a unit, for example 2Gi (m means thousandths)",
            _enough_memory,
        ),
    )
    limits: ResourceList | None = Field(
        None, description="The most a pod may use; devices such as nvidia.com/gpu go here."
    )
    requests: ResourceList | None = Field(None, description="What the scheduler sets aside; the limits when unset.")

    @property
    def asked(self) -> Mapping[str, int | str]:
        """All that is asked for by name; a limit counts before a request."""
        return {**(self.requests or {}), **(self.limits or {})}


def accelerators(asked: Mapping[str, object]) -> dict[str, int]:
    """Accelerators among the resources asked for, with their number; those of amount 0 left out."""
    found = {name: int(parse_quantity(str(amount))) for name, amount in asked.items() if _ACCELERATORS.match(name)}
    return {name: amount for name, amount in found.items() if amount}


def unknown(asked: Mapping[str, object]) -> list[str]:
    """Accelerators asked for that are neither CUDA's nor ROCm's."""
    return sorted(name for name in accelerators(asked) if not name.startswith(_BY_TORCH))
