"""`python -m workloads serve`: arguments in, exit code out. Everything that goes wrong ends here, in words.

Exit codes: 0 left in good order, 1 failed (a damaged model as well), 2 the service, its model or its engines are wrong,
130 Ctrl-C while loading. The last line says why. In a pod it is the termination message as well; what nobody has
foreseen leaves that to the end of the log, where its traceback is.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from slipway.api.serving.engine import EngineName
from slipway.api.serving.warmup import WarmUpMode
from workloads import errors
from workloads.pod import termination
from workloads.serve.settings import GRPC_PORT, HTTP_PORT, Settings, TransformChoice, WarmUpChoice, from_document

ENGINE_CACHE = "SLIPWAY_ENGINE_CACHE"
# Seconds. An engine's thread needs the interpreter for a moment between two batches, while the loop's thread writes the
# replies of the last one: by default it would wait until that is done, for up to 5 ms.
SWITCH_INTERVAL = 50e-6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workloads serve",
        description="Serve a model over the Open Inference Protocol, REST and gRPC, with dynamic batching.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--config", type=Path, metavar="FILE", help="InferenceService document, JSON or YAML")
    source.add_argument("--model", metavar="DIR", help="artifact folder, .onnx file or URI")
    parser.add_argument("--name", help="the model's name in the paths; the folder's when unset")
    parser.add_argument("--engine", type=EngineName, choices=list(EngineName), help="auto takes the fastest that loads")
    parser.add_argument(
        "--provider",
        dest="providers",
        action="append",
        metavar="NAME",
        help="of onnxruntime, such as TensorrtExecutionProvider; again for the next one",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="the CPU limit when unset")
    parser.add_argument("--instances", type=int, metavar="N", help="engine instances; they share the threads")
    parser.add_argument("--max-batch-size", type=int, metavar="ROWS")
    parser.add_argument("--max-queue-size", type=int, metavar="ROWS")
    parser.add_argument("--host", metavar="ADDRESS", help="all of the machine's, IPv4 and IPv6, when unset")
    parser.add_argument("--port", type=int, metavar="N", help=f"HTTP, {HTTP_PORT} when unset")
    parser.add_argument("--grpc-port", type=int, metavar="N", help=f"{GRPC_PORT} when unset, -1 for none")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="whose files are keys; clients must show one of them")
    parser.add_argument("--tls", type=Path, metavar="DIR", help="with tls.crt and tls.key: speak TLS alone")
    parser.add_argument("--idle-timeout", type=float, metavar="SECONDS", help="of a connection without a request")
    parser.add_argument(
        "--warm-up", type=WarmUpMode, choices=list(WarmUpMode), help="what is run before the first request"
    )
    parser.add_argument("--warm-up-inputs", metavar="URI", help="rows to warm up with: .npz, or a request as .json")
    parser.add_argument(
        "--warm-up-shape",
        dest="warm_up_shapes",
        type=_shape,
        action="append",
        metavar="NAME=1,3,640,640",
        help="of an input with free axes; again for the next one",
    )
    parser.add_argument("--preprocess", metavar="MODULE:FUNCTION", help="own code before the model")
    parser.add_argument("--postprocess", metavar="MODULE:FUNCTION", help="own code after the model")
    parser.add_argument("--nonfinite", action="store_true", default=None, help="take NaN and infinity in binary inputs")
    parser.add_argument("--engine-cache", type=Path, metavar="DIR", help=f"for TensorRT engines; else ${ENGINE_CACHE}")
    parser.add_argument("--max-axis-length", type=int, metavar="N", help="of TensorRT engines, beside the batch")
    parser.add_argument("--build-only", action="store_true", help="build the TensorRT engine into the cache and end")
    parser.add_argument(
        "--mirror", type=Path, metavar="FILE", help="JSON with url and percent: where copies of requests go"
    )
    parser.add_argument("--readiness-lead", type=float, metavar="SECONDS", help="not ready, still serving, at the end")
    return parser


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, lengths = text.rpartition("=")
    return name, tuple(int(length) for length in lengths.split(",") if length)


def _warm_up(base: WarmUpChoice, options: dict[str, Any]) -> WarmUpChoice:
    """Warm-up that the document asks for, with the command line's options in its place."""
    mode, uri = options.pop("warm_up", base.mode), options.pop("warm_up_inputs", base.uri)
    return WarmUpChoice(mode, uri, dict(options.pop("warm_up_shapes", base.shapes.items())))


def settings_from(arguments: list[str]) -> Settings:
    """Settings of the document, or the defaults of a laptop, with the command line's options in their place."""
    options = {key: value for key, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    build_only = options.pop("build_only")
    config = options.pop("config", None)
    if "providers" in options:
        options["providers"] = tuple(options["providers"])
    cache = os.environ.get(ENGINE_CACHE)
    if cache:
        options.setdefault("engine_cache", Path(cache))
    # On a laptop nobody balances load: leave at once.
    base = from_document(config) if config is not None else Settings(model=options["model"], readiness_lead=0)
    batching = {key: options.pop(key) for key in ("max_batch_size", "max_queue_size") if key in options}
    if batching:
        wider = max(batching.get("max_queue_size", base.batching.max_queue_size), batching.get("max_batch_size", 1))
        options["batching"] = dataclasses.replace(base.batching, **{**batching, "max_queue_size": wider})
    if "idle_timeout" in options:
        options["http"] = dataclasses.replace(base.http, idle_timeout=options.pop("idle_timeout"))
    if "keys" in options:
        options["edge"] = dataclasses.replace(base.edge, keys=options.pop("keys"))
    own = {step: options.pop(step) for step in ("preprocess", "postprocess") if step in options}
    if own:
        options["transform"] = dataclasses.replace(base.transform or TransformChoice(), **own)
    options["warm_up"] = _warm_up(base.warm_up, options)
    for name in ("threads", "instances"):
        if options.get(name, 1) < 1:
            raise errors.BadInput(f"--{name} must be 1 or more")
    return dataclasses.replace(base, build_only=build_only, **options)


def main(arguments: list[str]) -> NoReturn:
    """Serve until a signal, then end the process with the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    code: int = errors.SUCCESS
    try:
        _run(settings_from(arguments))
    except (Exception, KeyboardInterrupt) as error:
        code = _failed(error)
    sys.stdout.flush()
    # Engines keep threads of their own, and a model that is still loading cannot be stopped otherwise.
    os._exit(code)


def _run(settings: Settings) -> None:
    if settings.build_only:
        from workloads.serve.loading import build_engine

        built = json.dumps({"engine": build_engine(settings)})
        print(built, flush=True)
        termination.tell(built)
        return
    from workloads.serve.generation.kind import generates

    if generates(settings):
        from workloads.serve.generation.run import serve
    else:
        from workloads.serve.run import serve

    sys.setswitchinterval(SWITCH_INTERVAL)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(settings))


def _loop_factory() -> Callable[[], Any] | None:
    """uvloop where it is installed: it halves the loop's share of a request."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def _failed(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        code, words = errors.INTERRUPTED, "interrupted"
    elif isinstance(error, errors.BadInput | errors.Corrupt | errors.Unavailable):
        code = errors.BAD_INPUT if isinstance(error, errors.BadInput) else errors.FAILURE
        words = str(error)
        termination.tell(words)
    else:
        traceback.print_exception(error)
        code, words = errors.FAILURE, f"{type(error).__name__}: {error}"
    print(f"error: {words}", file=sys.stderr, flush=True)
    return code
