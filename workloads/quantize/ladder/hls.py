"""Candidates of an FPGA: one circuit for each width of its numbers, until one passes."""

from functools import partial

from slipway.api.quantization.fpga import Fpga
from slipway.api.quantization.ladder import Rung
from slipway.api.quantization.settings import CalibrationMethod
from workloads.errors import BadInput
from workloads.onnx import hls
from workloads.quantize.context import Context
from workloads.quantize.hls import formats, plan, project
from workloads.quantize.hls.chain import chain_of
from workloads.quantize.ladder.candidates import Attempt, consider

ESTIMATES = "fpga"  # folder of the work folder's records


def require(context: Context) -> None:
    """BadInput when a job for an FPGA cannot be done here, or with this model: before anything is computed for it."""
    hls.require()
    if context.excluded:
        raise BadInput("spec.exclude keeps nodes in float, and a circuit has no floats: leave it out")
    plan.require(chain_of(context.prepared), fpga_of(context))


def fpga_of(context: Context) -> Fpga:
    """The job's part. BadInput when it has none."""
    if context.job.spec.target.fpga is None:
        raise BadInput("target.runtime hls needs target.fpga")
    return context.job.spec.target.fpga


def tried(context: Context, rung: Rung) -> tuple[str, ...]:
    """Names of the circuits that were built, the narrowest first; the first that passes is the last."""
    fpga, names = fpga_of(context), []
    widths = formats.WIDTHS if fpga.precision is None else (formats.parsed(fpga.precision).bits,)
    for bits in widths:
        attempt = Attempt(f"{rung}-{bits}-bit", rung, CalibrationMethod.MIN_MAX)
        candidate = consider(context, attempt, partial(_built, context, attempt.name, bits))
        names.append(attempt.name)
        if candidate is not None and candidate.passed:
            break
    return tuple(names)


def _built(context: Context, name: str, bits: int) -> bytes:
    chain = chain_of(context.prepared)
    circuit = plan.planned(chain, fpga_of(context), bits, context.ranges(CalibrationMethod.MIN_MAX))
    context.work.write(f"{ESTIMATES}/{name}", circuit.wire())
    return project.archive(chain, circuit)
