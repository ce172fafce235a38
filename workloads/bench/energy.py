"""Energy use in joules, by the machine's own counters only: RAPL for processors, NVML for GPUs; never estimated.

The counters are of whole processors and GPUs: what else runs beside, and what they take while idle, is in them.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
PACKAGES = "intel-rapl:[0-9]*"  # the kernel's name, for AMD's processors too


@dataclass(frozen=True)
class EnergyCounter:
    """Energy counter in joules since some moment; `wraps`: where it begins anew, None for one that does not."""

    name: str
    read: Callable[[], float]
    wraps: float | None = None

    def used(self, before: float, after: float) -> float:
        """Joules between two readings; the counter may have begun anew once."""
        return after - before if after >= before or self.wraps is None else after - before + self.wraps


def counters(powercap: Path = POWERCAP) -> list[EnergyCounter]:
    """Energy counters that this process may read.

    None on most virtual machines, and in containers without the right.
    """
    return [*_rapl(powercap), *_nvml()]


def measure(found: list[EnergyCounter], work: Callable[[], object]) -> dict[str, float]:
    """Joules by counter that were used while `work` ran."""
    before = [counter.read() for counter in found]
    work()
    return {counter.name: counter.used(first, counter.read()) for counter, first in zip(found, before, strict=True)}


def _rapl(powercap: Path) -> list[EnergyCounter]:
    """RAPL counters of whole packages; cores and memory are parts of these.

    See Documentation/power/powercap in the Linux kernel.
    """
    found = []
    for folder in sorted(path for path in powercap.glob(PACKAGES) if path.name.count(":") == 1):
        energy = folder / "energy_uj"
        try:
            _microjoules(energy)
            name, limit = (folder / "name").read_text().strip(), _microjoules(folder / "max_energy_range_uj")
        except (OSError, ValueError):  # for root alone since 2020, or gone
            continue
        found.append(EnergyCounter(f"rapl {name}", lambda path=energy: _microjoules(path), limit))  # type: ignore[misc]
    return found


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def _nvml() -> list[EnergyCounter]:
    """NVIDIA's counter of millijoules, of Volta and later; none without a GPU or its library, nvidia-ml-py."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)

        def read(handle: object = handle) -> float:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

        try:
            read()
        except nvml.NVMLError:
            continue
        found.append(EnergyCounter(f"nvml GPU {index}", read))
    return found
