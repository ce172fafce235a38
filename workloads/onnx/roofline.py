"""Roofline of a machine, and which roof a kernel is under (Williams, Waterman and Patterson 2009).

A kernel can compute no faster than the machine, and no faster than its operands come: by FLOPs a byte, the lower of the
two roofs is its bound. Both are measured here and now, on one thread, the products by the library that models run on;
what a cache holds may come faster than from memory, so a share of the roof may be above one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from workloads.measure import timing
from workloads.onnx.kernels import Kernel

MEMORY, COMPUTE, CALL = "memory bound", "compute bound", "neither: its call"
WORTH = 0.1  # of the roof: a kernel that stays below spends its time on other things than bytes and products
SIDE, COPIED, ROUNDS = 768, 64 << 20, 5


@dataclass(frozen=True)
class Peaks:
    """Bytes a second that one thread copies, and FLOPs a second of its products in float32 and in int8."""

    bandwidth: float
    floats: float
    integers: float

    def roof(self, intensity: float, *, integer: bool) -> float:
        """FLOPs a second that are possible at so many FLOPs a byte."""
        return min(self.integers if integer else self.floats, intensity * self.bandwidth)

    def wire(self) -> dict[str, float]:
        """JSON object of the peaks in GB and GFLOPs a second."""
        return {
            "gigabytesPerSecond": round(self.bandwidth / 1e9, 2),
            "floatGigaflops": round(self.floats / 1e9, 1),
            "int8Gigaflops": round(self.integers / 1e9, 1),
        }


def verdict(peaks: Peaks, seconds: float, flops: int | None, moved: int, *, integer: bool) -> tuple[str, float]:
    """Bound of a kernel that took `seconds` for `flops` and `moved` bytes, and its share of that roof."""
    if seconds <= 0 or moved <= 0:
        return CALL, 0.0
    if not flops:
        share = moved / seconds / peaks.bandwidth
        return (MEMORY if share >= WORTH else CALL), share
    intensity = flops / moved
    share = flops / seconds / peaks.roof(intensity, integer=integer)
    if share < WORTH:
        return CALL, share
    ridge = (peaks.integers if integer else peaks.floats) / peaks.bandwidth
    return (COMPUTE if intensity >= ridge else MEMORY), share


def row(peaks: Peaks, kernel: Kernel) -> dict[str, Any]:
    """JSON object of a kernel: its time, the nodes that it stands for, and the roof that bounds it."""
    found: dict[str, Any] = {"name": kernel.name, "op": kernel.op, "microseconds": round(kernel.seconds * 1e6, 1)}
    found |= {"nodes": list(kernel.nodes), "fusion": kernel.fusion}
    if kernel.moved:
        bound, share = verdict(peaks, kernel.seconds, kernel.flops, kernel.moved, integer=kernel.integer)
        found |= {"flops": kernel.flops, "bytes": kernel.moved, "bound": bound, "shareOfRoof": round(share, 3)}
        found["integer"] = kernel.integer
    return found


def bounds(rows: Sequence[Mapping[str, Any]]) -> str:
    """Shares of the time by what bounds the kernels, and how many kernels stand for several nodes, in words."""
    whole = sum(row["microseconds"] for row in rows) or 1.0
    shares = {
        bound: sum(row["microseconds"] for row in rows if row.get("bound") == bound) / whole
        for bound in (COMPUTE, MEMORY, CALL)
    }
    fused = sum(bool(row["fusion"]) for row in rows)
    timed = ", ".join(f"{share:.0%} {bound}" for bound, share in shares.items() if share)
    return f"of the time {timed}; {fused} kernels stand for several nodes" if timed else f"{fused} kernels are fused"


@cache
def peaks() -> Peaks:
    """Measure this machine, once for each process: the fastest of a few rounds."""
    from_, to = np.ones(COPIED // 8), np.empty(COPIED // 8)
    copied = timing.in_turns([partial(np.copyto, to, from_)], rounds=ROUNDS, warmup=1).min()
    operations = 2 * SIDE**3
    floats, integers = (_product(integer=integer) for integer in (False, True))
    return Peaks(2 * COPIED / float(copied), operations / floats, operations / integers)


def _product(*, integer: bool) -> float:
    """Seconds of one square product on one thread of ONNX Runtime."""
    from onnx import TensorProto, helper, numpy_helper

    from workloads.onnx import session

    given, made = (TensorProto.UINT8, TensorProto.INT32) if integer else (TensorProto.FLOAT, TensorProto.FLOAT)
    kinds = (np.uint8, np.int8) if integer else (np.float32, np.float32)
    weights = numpy_helper.from_array(np.ones((SIDE, SIDE), kinds[1]), "w")
    node = helper.make_node("MatMulInteger" if integer else "MatMul", ["x", "w"], ["y"])
    ports = [helper.make_tensor_value_info(name, kind, [SIDE, SIDE]) for name, kind in (("x", given), ("y", made))]
    graph = helper.make_graph([node], "peak", ports[:1], ports[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    opened = session.session(model, threads=1)
    feeds: dict[str, Any] = {"x": np.ones((SIDE, SIDE), kinds[0])}
    seconds = timing.in_turns([partial(opened.run, None, feeds)], rounds=ROUNDS, warmup=2, clock=timing.clock_of(1))
    return float(seconds.min())
