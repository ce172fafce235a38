"""Does the engine really work here, and how fast? Runs each batch size that matters before the server is ready."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workloads.serve.datatypes import Array, Datatype, finite
from workloads.serve.engines.engine import Engine, Unavailable
from workloads.serve.signature import Signature, Tensor

FREE_AXIS = 16  # length given to an axis that may have any, such as a sequence
SAME_ROW = 0.05  # as a share of the largest output; a model quantized by each batch's range moves by less


@dataclass(frozen=True)
class WarmUp:
    """What was seen. `seconds`: rows of a batch -> its second run. `independent`: rows do not change each other."""

    seconds: dict[int, float]
    independent: bool
    probe: list[Array]


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Powers of two, and the largest."""
    powers = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return (*powers, largest)


def sample(signature: Signature, rows: int, seed: int = 0) -> list[Array]:
    """Plausible inputs: numbers from [0, 1), integers 0 and 1, the text "1"."""
    random = np.random.default_rng(seed)
    names: dict[str, int] = {}
    if signature.batched:
        names[str(signature.inputs[0].axes[0])] = rows
    return [_fill(tensor, names, random) for tensor in signature.inputs]


def _fill(tensor: Tensor, names: dict[str, int], random: np.random.Generator) -> Array:
    shape = [axis if isinstance(axis, int) else names.setdefault(axis, FREE_AXIS) for axis in tensor.axes]
    if tensor.datatype is Datatype.BYTES:
        return np.full(shape, b"1", dtype=object)
    if tensor.datatype.floating:
        return random.random(shape, dtype=np.float32).astype(tensor.datatype.dtype)
    return random.integers(0, 2, shape).astype(tensor.datatype.dtype)


def warm_up(engine: Engine, signature: Signature, sizes: Sequence[int]) -> WarmUp:
    """Run every size twice. Unavailable when the engine fails, or its results are of a wrong shape or not finite."""
    seconds = {}
    for rows in sizes if signature.batched else (1,):
        inputs = sample(signature, rows)
        _checked(engine, signature, inputs, rows)
        started = time.perf_counter()
        _checked(engine, signature, inputs, rows)
        seconds[rows] = time.perf_counter() - started
    independent = signature.batched and (max(sizes) == 1 or _independent(engine, signature))
    return WarmUp(seconds, independent, sample(signature, 1))


def _checked(engine: Engine, signature: Signature, inputs: list[Array], rows: int) -> list[Array]:
    try:
        outputs = list(engine.run(inputs))
        signature.check_outputs(outputs, rows)
    except Exception as error:
        raise Unavailable(f"the warm-up with {rows} rows failed: {error}") from error
    for tensor, output in zip(signature.outputs, outputs, strict=True):
        if not finite(output):
            raise Unavailable(f"the warm-up with {rows} rows gave NaN or infinity in {tensor.name!r}")
    return outputs


def _independent(engine: Engine, signature: Signature) -> bool:
    """Two rows together give what each gives alone. Batching would otherwise change people's answers."""
    rows = [sample(signature, 1, seed) for seed in (1, 2)]
    together = _checked(engine, signature, [np.concatenate(pair) for pair in zip(*rows, strict=True)], 2)
    for place, row in enumerate(rows):
        alone = _checked(engine, signature, row, 1)
        for whole, single in zip(together, alone, strict=True):
            if not _close(whole[place : place + 1], single):
                return False
    return True


def _close(left: Array, right: Array) -> bool:
    if left.shape != right.shape:
        return False
    if left.dtype.kind not in "fV":
        return left.dtype.kind != "O" or bool((left == right).all())
    first, second = left.astype(np.float64), right.astype(np.float64)
    largest = max(float(np.abs(second).max(initial=0.0)), 1e-6)
    return bool(np.abs(first - second).max(initial=0.0) <= SAME_ROW * largest)
