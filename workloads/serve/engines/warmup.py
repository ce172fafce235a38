"""Warm-up of an engine: whether it really works here, how fast, and whether rows of requests may share a batch.

Runs each batch size that matters before the server is ready. What it finds is a warning: the inputs are invented, and
only clients know what a model takes. An engine that runs nothing at all is another matter (NothingRuns).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from slipway.api.serving.warmup import WarmUpMode
from workloads.serve.datatypes import Array, finite
from workloads.serve.engines.engine import Engine, Unavailable
from workloads.serve.engines.invented import FREE_AXIS, Attempt, attempts, sample
from workloads.serve.engines.observed import corrected, shapes_of
from workloads.serve.errors import first_line
from workloads.serve.rows import Verdict, Word
from workloads.serve.signature import Signature

__all__ = ["FREE_AXIS", "NothingRuns", "Plan", "WarmUp", "sample", "sizes_up_to", "unseen", "warm_up"]

# As a share of the largest value of a row's result. Kernels differ with the number of rows: in the last digits of
# float32, in the third of TF32 and float16; where values are rounded to 8 bits, a step of that rounding may follow.
SAME_ROW, SAME_ROW_8_BITS = 0.01, 0.05
SCALES = (1.0, 100.0, 1e-3, -1.0)  # of the rows that are compared: alone each has a range of its own
FIRST_AXES = (16, 512, 16000)
MOST_BYTES = 1 << 30  # of the inputs of a batch that is only tried
NOT_RUN = Verdict(Word.UNKNOWN)


class NothingRuns(Unavailable):
    """The engine runs none of the inputs that were tried."""


@dataclass(frozen=True)
class Plan:
    """Plan of a warm-up. `sizes`: rows, the largest last. `rows`: what the graph says of them.

    `steps8`: some values have 8 bits.
    """

    sizes: tuple[int, ...]
    mode: WarmUpMode = WarmUpMode.FULL
    given: Attempt | None = None
    rows: Verdict = NOT_RUN
    steps8: bool = False


@dataclass(frozen=True)
class WarmUp:
    """Findings of a warm-up. `seconds`: rows of a batch -> its second run.

    `independent`: rows do not change each other. `probe`: an input that runs, of one row. `signature`: as seen; the
    declared one when None. `alone`: why requests do not share batches. `largest`: rows of the largest batch that ran,
    where larger ones did not. `warnings` are for people; `flaws` are those for which another engine would be preferred.
    """

    seconds: dict[int, float]
    independent: bool
    probe: list[Array] | None
    signature: Signature | None = None
    alone: str = ""
    largest: int | None = None
    warnings: tuple[str, ...] = ()
    flaws: tuple[str, ...] = ()
    finite: bool = True


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Powers of two, and the largest."""
    powers = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return (*powers, largest)


def unseen(signature: Signature, rows: Verdict, why: str) -> WarmUp:
    """Nothing was run: rows share a batch only where the graph itself proves that they may."""
    proved = rows.word is Word.INDEPENDENT and not signature.fixed
    alone = "" if proved else signature.fixed or rows.reason or f"{why}, and nothing proves that rows are independent"
    seen = Signature(signature.inputs, signature.outputs, True) if proved else signature
    return WarmUp({}, proved, None, seen, alone)


def warm_up(engine: Engine, signature: Signature, plan: "Plan | Sequence[int]") -> WarmUp:
    """Run every size twice. NothingRuns when not even one row can be computed with any input that was tried."""
    plan = plan if isinstance(plan, Plan) else Plan(tuple(plan))
    if plan.mode is WarmUpMode.NONE:
        return unseen(signature, plan.rows, "there is no warm-up")
    how, least, first = _first(engine, signature, plan.given)
    strange = _strange(signature, first, least) if plan.mode is WarmUpMode.FULL else []
    flaws = list(strange)
    seconds: dict[int, float] = {}
    shapes = {least: shapes_of(first)}
    largest = None
    probe = sample(signature, least, 0, how)
    most = MOST_BYTES // max(1, sum(array.nbytes for array in probe))
    for rows in plan.sizes if not signature.fixed and least == 1 else (least,):
        if 1 < rows > most:
            break  # nobody has sent so much yet, and the memory may be there for other things
        try:
            inputs = sample(signature, rows, 0, how)
            outputs = _run(engine, signature, inputs)
            started = time.perf_counter()
            outputs = _run(engine, signature, inputs)
        except Exception as error:
            largest = max(seconds, default=1)
            flaws.append(f"a batch of {rows} rows fails ({first_line(error)}): batches have at most {largest} row(s)")
            break
        seconds[rows] = time.perf_counter() - started
        shapes[rows] = shapes_of(outputs)
    seen, wrong = corrected(signature, shapes)
    if least > 1:
        seen = replace(seen, rowwise=False)
    alone = _alone(engine, seen, plan, how, largest)
    warnings = (*flaws, *wrong)
    return WarmUp(seconds, not alone, probe, seen, alone, largest, warnings, warnings, not strange)


def _first(engine: Engine, signature: Signature, given: Attempt | None) -> tuple[Attempt, int, list[Array]]:
    """First input that runs: its choice of values, the length of its first axes, and its results.

    One row, if that runs: a first axis that nobody calls a batch may be something else, such as samples of a sound.
    """
    reason = ""
    for rows in (1,) if signature.batched or signature.fixed else (1, *FIRST_AXES):
        for how in attempts(given):
            try:
                return how, rows, _run(engine, signature, sample(signature, rows, 0, how))
            except Exception as error:
                reason = reason or first_line(error)
    words = "the input that was given" if given is not None and given.rows else "any input that was tried"
    raise NothingRuns(f"the warm-up could not run {words}: {reason}")


def _run(engine: Engine, signature: Signature, inputs: list[Array]) -> list[Array]:
    outputs = list(engine.run(inputs))
    signature.check_outputs(outputs)
    return outputs


def _strange(signature: Signature, outputs: Sequence[Array], rows: int) -> list[str]:
    return [
        f"the warm-up with {rows} row(s) gave NaN or infinity in {tensor.name!r}"
        for tensor, output in zip(signature.outputs, outputs, strict=True)
        if not finite(output)
    ]


def _alone(engine: Engine, seen: Signature, plan: Plan, how: Attempt, largest: int | None) -> str:
    """Reason why rows of several requests may not share a batch, or nothing."""
    if seen.fixed:
        return seen.fixed
    if max(plan.sizes) == 1 or largest == 1:
        return ""
    if not seen.batched:
        return "not every output has a row for each row of the inputs"
    if plan.rows.word is Word.MIXED:
        return plan.rows.reason
    if plan.mode is WarmUpMode.SHAPES_ONLY:
        proved = plan.rows.word is Word.INDEPENDENT
        return "" if proved else plan.rows.reason or "the warm-up has compared no rows"
    return _changed(engine, seen, plan, how)


def _changed(engine: Engine, signature: Signature, plan: Plan, how: Attempt) -> str:
    """Rows of different scales and signs, in several orders, give together what each gives alone; or why not."""
    rows = [_scaled(sample(signature, 1, seed + 1, how), scale) for seed, scale in enumerate(SCALES)]
    alone = [_tried(engine, signature, row) for row in rows]
    usable = [place for place, result in enumerate(alone) if result is not None]
    most = max(plan.sizes)
    for order in ((0, 1, 2, 3), (3, 1, 2, 0), (1, 0), (0, 2), (0, 0)):
        chosen = [place for place in order if place in usable][:most]
        if len(chosen) < 2:
            continue
        together = _tried(
            engine, signature, [np.concatenate(parts) for parts in zip(*(rows[p] for p in chosen), strict=True)]
        )
        if together is None:
            return "rows that run alone do not run together"
        for row, place in enumerate(chosen):
            single = alone[place] or []
            if not all(
                _close(whole[row : row + 1], one, plan.steps8) for whole, one in zip(together, single, strict=True)
            ):
                return "rows change each other's results: seen at warm-up"
    return ""


def _tried(engine: Engine, signature: Signature, inputs: list[Array]) -> list[Array] | None:
    try:
        return _run(engine, signature, inputs)
    except Exception:  # an invented value may be one that the model does not take
        return None


def _scaled(inputs: list[Array], scale: float) -> list[Array]:
    """Floating-point values only: whole numbers are places in tables."""
    return [array if array.dtype.kind not in "fV" else (array * scale).astype(array.dtype) for array in inputs]


def _close(left: Array, right: Array, steps8: bool) -> bool:
    if left.shape != right.shape:
        return False
    if left.dtype.kind not in "fV":
        same = left == right
        return steps8 or bool(np.all(same))
    first, second = left.astype(np.float64), right.astype(np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(np.isfinite(first), np.isfinite(second)):
        return False
    largest = max(float(np.abs(second[known]).max(initial=0.0)), 1e-6)
    most = SAME_ROW_8_BITS if steps8 else SAME_ROW
    return bool(np.abs(first[known] - second[known]).max(initial=0.0) <= most * largest)
