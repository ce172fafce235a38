"""Give every client that is installed the same inputs, in one run: `python -m tests.conformance.clients --out FILE`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onnx import TensorProto

from tests.conformance.clients.generators import GENERATORS
from tests.conformance.clients.grpc_programs import GRPC_PROGRAMS, GrpcProgram
from tests.conformance.clients.inputs import Inputs
from tests.conformance.clients.programs import ABSENT, PROGRAMS
from tests.conformance.clients.protocol import PROTOCOLS
from tests.conformance.server import Server
from tests.perf import machine
from tests.unit.serve.onnx_models import identity

MANY, FEW = 2000, 40


def programs(server: Server) -> dict[str, Any]:
    """Results of each HTTP client program that reads a manifest of requests, by name."""
    base, inputs, rows = f"http://127.0.0.1:{server.port}", Inputs(server.name), {}
    for program in PROGRAMS:
        row: dict[str, Any] = {"speaks": program.speaks, "without": list(program.without)}
        if program.there:
            row |= {"version": program.version_line(), "results": program.results(base, inputs)}
        rows[program.name] = row
    return rows


def grpc_program(program: GrpcProgram, server: Server, folder: Path) -> dict[str, Any]:
    """Version and results of a gRPC client of another language; nothing where it is not installed."""
    version = program.version()
    if not version:
        return {}
    answers = folder / program.package
    answers.mkdir()
    return {"version": version, "results": program.results(server, answers)}


def generators(server: Server, folder: Path) -> dict[str, Any]:
    """Results of each load generator, which sends one input many times, by name."""
    url, inputs, rows = f"http://127.0.0.1:{server.port}/v2/models/{server.name}/infer", Inputs(server.name), {}
    inputs.write(folder)
    for generator in GENERATORS:
        rows[generator.name] = {}
        if generator.there:
            small = generator.run(url, folder / "small.body", MANY)
            large = generator.run(url, folder / "large.body", FEW)
            rows[generator.name] = {"version": generator.version_line(), "small": asdict(small), "large": asdict(large)}
    return rows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.clients")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"machine": {**machine.describe(), "load": machine.load()}, "absent": list(ABSENT)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = identity(folder / "same.onnx", TensorProto.FLOAT)
        server = Server(folder / "log", "--model", str(model), "--engine", "onnxruntime").wait()
        try:
            report["programs"] = programs(server)
            report["protocol"] = {
                one.name: {"version": version, "results": one.results(server)} if (version := one.version()) else {}
                for one in PROTOCOLS
            }
            report["protocol"] |= {one.name: grpc_program(one, server, folder) for one in GRPC_PROGRAMS}
            report["generators"] = generators(server, folder)
        finally:
            report["left in good order"] = server.stop() == 0
    text = json.dumps(report, indent=1)
    if options.out is not None:
        options.out.write_text(text + "\n")
    print(text)
    found = [*report["programs"].values(), *report["protocol"].values()]
    return int(any(fault for row in found for fault in row.get("results", {}).values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
