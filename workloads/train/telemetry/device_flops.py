"""Peak FLOP/s of this device in matrix products. For MFU: read by the meter, and None where no datasheet says it.

Dense teraFLOP/s of one GPU from NVIDIA's datasheets, without sparsity: those of V100, T4, A10, A30, A40, A100, L4, L40,
L40S, H100, H200 and of HGX B200. Names are as the driver gives them. A slice of a GPU (MIG) has no figure of its own.
"""

import re

import torch

from slipway.api.training.recipe import Precision

# name -> (16-bit, 32-bit). 32-bit is TF32 where there is such a thing: cuDNN's convolutions take it for float32.
TERAFLOPS: tuple[tuple[str, float, float], ...] = (
    ("V100-SXM2", 125, 15.7),
    ("V100-PCIE", 112, 14),
    ("T4", 65, 8.1),
    ("A10", 125, 62.5),
    ("A30", 165, 82),
    ("A40", 149.7, 74.8),
    ("A100", 312, 156),
    ("L4", 121, 60),
    ("L40", 181.05, 90.5),
    ("L40S", 362.05, 183),
    ("H100 NVL", 835.5, 417.5),
    ("H100 PCIe", 756.5, 378),
    ("H100", 989.5, 494.5),
    ("H200 NVL", 835.5, 417.5),
    ("H200", 989.5, 494.5),
    ("B200", 2250, 1125),
)


def of_name(name: str, precision: Precision) -> float | None:
    """FLOP/s of the GPU of this name; None for one that is not in the table."""
    if "MIG" in name:
        return None
    found = [row for row in TERAFLOPS if re.search(rf"\b{row[0]}(?![0-9A-Za-z])", name)]
    if not found:
        return None
    _, half, single = max(found, key=lambda row: len(row[0]))  # H100 PCIe is an H100, too
    return (single if precision is Precision.FP32 else half) * 1e12


def of_device(device: torch.device, precision: Precision) -> float | None:
    """Peak FLOP/s of a device; None for CPUs: what they could do depends on clocks that change with load."""
    return of_name(torch.cuda.get_device_name(device), precision) if device.type == "cuda" else None
