"""`python -m workloads quantize`: arguments in, exit code out. Everything that goes wrong ends here, in words.

Exit codes: 0 done, 1 failed, 2 the job or its data is wrong, or would fail so again, 3 no candidate passes and the job
asks for failure, 130 Ctrl-C, 143 SIGTERM (finished work is kept, and the next run goes on from it).
"""

import argparse
import re
import sys
import traceback
from pathlib import Path

from slipway.api.quantization.status import SHARDED, Stage
from workloads import errors
from workloads.pod import termination
from workloads.pod.signals import StopSignal
from workloads.quantize.job import Job, Overrides, read_job

REJECTED = errors.REJECTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workloads quantize",
        description="Quantize the model of a QuantizationJob document until it passes its gates, and write the report. "
        "Without --stage: all stages that are left.",
    )
    parser.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="QuantizationJob document, JSON or YAML"
    )
    parser.add_argument("--model", metavar="URI", help="the float model, instead of spec.model")
    parser.add_argument("--output", metavar="DIR", help="write the artifact here instead of spec.output.uri")
    parser.add_argument("--work", metavar="DIR", help="keep unfinished work here instead of spec.work.uri")
    parser.add_argument("--stage", choices=[stage.value for stage in Stage], help="run this stage only")
    parser.add_argument(
        "--shard", metavar="I/N", default="0/1", help="which part of a sharded stage, from 0/N to N-1/N"
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="run nothing: tell why each rung was taken, refused or skipped, with its numbers, by what the work folder "
        "has, or by the report of a job that is done; of a job that has not begun, which rungs its target has",
    )
    return parser


def main(arguments: list[str]) -> int:
    """Quantize. Returns the exit code."""
    StopSignal().install()
    options = _parser().parse_args(arguments)
    try:
        job = read_job(options.config, Overrides(options.model, options.output, options.work))
        if options.explain:
            from workloads.quantize.report.explain import explain  # heavy: only now that the job is known to be good

            print(explain(job), flush=True)
        else:
            _quantize(job, options.stage, options.shard)
    except BaseException as error:
        return _failed(error)
    return errors.SUCCESS


def _quantize(job: Job, stage: str | None, shard: str) -> None:
    from workloads.pod.progress import Poster
    from workloads.quantize.progress import ProgressReporter
    from workloads.quantize.run import run_all, run_stage  # heavy: only now that the job is known to be good

    index = 0 if stage is None else _shard(job, Stage(stage), shard)
    # Of several shards the first speaks for all: they are of one size.
    reporter = ProgressReporter() if index == 0 else ProgressReporter(Poster({}))
    try:
        if stage is None:
            run_all(job, reporter)
        else:
            run_stage(job, reporter, Stage(stage), index)
    finally:
        reporter.close()


def _shard(job: Job, stage: Stage, text: str) -> int:
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    count = job.spec.parallelism if stage in SHARDED else 1
    if match is None or int(match[2]) != count or not int(match[1]) < count:
        raise errors.BadInput(
            f"--shard {text}: stage {stage} of this job has the shards 0/{count} to {count - 1}/{count}"
        )
    return int(match[1])


def _failed(error: BaseException) -> int:
    """Say what went wrong; the last line of a failed pod's log is what people see first."""
    code, words = _explain(error)
    if code == errors.FAILURE or (code == errors.BAD_INPUT and not isinstance(error, errors.BadInput)):
        traceback.print_exception(error)
    sys.stdout.flush()
    print(f"error: {words}" if code in {errors.FAILURE, errors.BAD_INPUT} else words, file=sys.stderr, flush=True)
    if code == errors.BAD_INPUT:
        termination.tell(words)
    return code


def _explain(error: BaseException) -> tuple[int, str]:
    if isinstance(error, SystemExit):
        return int(error.code or 0), "terminated: what was finished is kept"
    if isinstance(error, KeyboardInterrupt):
        return errors.INTERRUPTED, "interrupted: what was finished is kept"
    if isinstance(error, errors.BadInput):
        return errors.BAD_INPUT, str(error)
    if type(error).__name__ == "Rejected":
        return REJECTED, str(error)
    words = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    if errors.comes_again(error):
        return errors.BAD_INPUT, f"{words} (the same input would end so again; the log has where)"
    return errors.FAILURE, words
