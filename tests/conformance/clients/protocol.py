"""Clients of the protocol itself, each in a process of its own: which of the inputs that it can send are answered?"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from tests.conformance.clients.programs import LIBRARIES, SECONDS, SOURCES
from tests.conformance.server import Server


@dataclass(frozen=True)
class Protocol:
    """`part` of sdk.py, run where `package` is."""

    name: str
    part: str
    package: str
    python: str = LIBRARIES

    def version(self) -> str:
        """The package's; nothing where it is not installed."""
        said = f"import importlib.metadata as m; print(m.version('{self.package}'))"
        try:
            done = subprocess.run([self.python, "-c", said], check=False, capture_output=True, text=True)
        except OSError:
            return ""
        return done.stdout.strip()

    def results(self, server: Server) -> dict[str, str]:
        """By input: nothing where its answer is right."""
        arguments = [self.part, str(server.port), str(server.grpc_port), server.name]
        command = [self.python, str(SOURCES / "sdk.py"), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
        lines = (line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 1)
        found = {name: "" if fault == "right" else fault for name, fault in lines}
        return found if found and not done.returncode else {**found, "exit": done.stderr[-300:] or "it said nothing"}


PROTOCOLS = [
    Protocol("tritonclient, HTTP", "triton_http", "tritonclient"),
    Protocol("tritonclient, HTTP, asyncio, 20 at once", "triton_http_aio", "tritonclient"),
    Protocol("tritonclient, gRPC", "triton_grpc", "tritonclient"),
    Protocol("KServe's SDK, REST", "kserve_rest", "kserve"),
    Protocol("KServe's SDK, gRPC", "kserve_grpc", "kserve"),
    Protocol("perf_analyzer's requests replayed, HTTP", "perf_analyzer_http", "tritonclient"),
    Protocol("perf_analyzer's requests replayed, gRPC", "perf_analyzer_grpc", "tritonclient"),
    Protocol("reflection, as grpcurl uses it", "reflection", "grpcio-reflection", sys.executable),
]
