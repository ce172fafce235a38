"""`python -m workloads bench`: latency, throughput, memory, parameters, FLOPs and size of models, side by side.

Exit codes: 0 measured, 1 failed, 2 a model or an engine is not what it should be.
"""

import argparse
import json
import sys
from pathlib import Path

from workloads import errors
from workloads.libraries import extra, optional

REMEDY = extra("quantize", "the quantizer's image")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workloads bench",
        description="Measure models on the engines that are here; all of them take turns in one run. "
        "`bench scaling --help` is of a training by more and more processes, `bench untrained --help` of a model that "
        "is still to be trained, `bench front --help` draws a SearchJob.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="artifact folder or URI, .onnx or .tflite")
    parser.add_argument(
        "--engine",
        type=_listed,
        default=(),
        metavar="NAME,...",
        help="onnxruntime, openvino, torch, tensorrt, litert; all that can take the model when left out",
    )
    parser.add_argument("--threads", type=_numbers, metavar="N,...", help="one, and all cores, when left out")
    parser.add_argument("--batch-size", type=_numbers, default=(1,), metavar="N,...", help="1 when left out")
    parser.add_argument("--rounds", type=_positive, default=200, metavar="N", help="calls of each, 200 when left out")
    parser.add_argument("--warmup", type=_positive, default=20, metavar="N", help="calls before that, 20 when left out")
    parser.add_argument(
        "--explain", action="store_true", help="instead: the kernels that run, what they fuse, and what bounds them"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="with --explain: a roofline plot, SVG")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_positive(one) for one in text.split(",")))


def main(arguments: list[str]) -> int:
    """Measure and print the figures. Returns the exit code. Benches with options of their own come before them."""
    if arguments[:1] == ["scaling"]:
        from workloads.bench import scaling

        return scaling.main(arguments[1:])
    if arguments[:1] == ["untrained"]:
        from workloads.bench import untrained

        return untrained.main(arguments[1:])
    if arguments[:1] == ["front"]:
        from workloads.bench import front

        return front.main(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        _bench(options)
    except (errors.BadInput, errors.Corrupt) as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.BAD_INPUT if isinstance(error, errors.BadInput) else errors.FAILURE
    return errors.SUCCESS


def _bench(options: argparse.Namespace) -> None:
    asked = "bench opens models with onnx and ONNX Runtime"
    optional("onnx", asked, REMEDY)
    subjects = optional("workloads.bench.models_under_test", asked, REMEDY)
    table = None
    if options.output == "text" and not options.explain:
        table = optional("workloads.bench.table", "tables are drawn by rich", "pip install rich, or --output json")
    unknown = [name for name in options.engine if name not in subjects.ENGINES]
    if unknown:
        raise errors.BadInput(f"no engine {', '.join(unknown)}: there are {', '.join(subjects.ENGINES)}")
    if options.explain:
        _explain(options)
        return
    from workloads.bench.measure import BenchOptions, run
    from workloads.onnx.session import own_threads

    report = run(
        BenchOptions(
            models=tuple(options.models),
            engines=options.engine,
            threads=options.threads or tuple(dict.fromkeys((1, own_threads()))),
            batch_sizes=options.batch_size,
            rounds=options.rounds,
            warmup=options.warmup,
        )
    )
    if table is None:
        print(json.dumps(report, indent=1))
        return
    table.show(report, table.console())


def _explain(options: argparse.Namespace) -> None:
    from workloads.bench import explain

    report = explain.run(options.models, options.engine, options.batch_size[0])
    if options.plot is not None:
        options.plot.write_text(explain.plot(report))
    print(json.dumps(report, indent=1) if options.output == "json" else explain.words(report))
