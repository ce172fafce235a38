"""gRPC clients of other languages, each given the same messages over one channel: which are answered rightly?

grpc-java (Netty) and grpc-go as Debian packages them. Their HTTP/2 is their own: settings, windows, compression and
pings differ from grpcio's. Those that are not installed are not tried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.cluster.paths import cache
from tests.conformance.clients.inputs import LARGE, SMALL
from tests.conformance.clients.programs import JARS, SECONDS, SOURCES
from tests.conformance.server import Server
from workloads.serve.protocol import open_inference_pb2 as pb

GO = Path("/usr/share/gocode")
SERVICE = "inference.GRPCInferenceService"


def _echoed(array: np.ndarray, answer: bytes) -> bool:
    return pb.ModelInferResponse.FromString(answer).raw_output_contents[0] == array.tobytes()


@dataclass(frozen=True)
class Call:
    """A method's message, the status that it must end with, and whether an answer is the right one."""

    method: str
    message: bytes
    status: str = "OK"
    right: Callable[[bytes], bool] = lambda _: True


def calls(model: str) -> dict[str, Call]:
    """Calls by name; a name that begins with gzip is sent so."""

    def infer(array: np.ndarray, name: str = model, status: str = "OK") -> Call:
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=array.shape)
        message = pb.ModelInferRequest(model_name=name, inputs=[tensor], raw_input_contents=[array.tobytes()])
        return Call(f"{SERVICE}/ModelInfer", message.SerializeToString(), status, partial(_echoed, array))

    empty = pb.ModelInferRequest(model_name=model).SerializeToString()
    return {
        "small": infer(SMALL),
        "large": infer(LARGE),
        "refused": Call(f"{SERVICE}/ModelInfer", empty, "INVALID_ARGUMENT"),
        "gzip": infer(SMALL),
        "gzip large": infer(LARGE),
        "unknown": infer(SMALL, "other", "NOT_FOUND"),
        "no method": Call(f"{SERVICE}/Nothing", b"", "UNIMPLEMENTED"),
        "ready": Call(f"{SERVICE}/ServerReady", b"", right=lambda got: pb.ServerReadyResponse.FromString(got).ready),
        "health": Call("grpc.health.v1.Health/Check", b"", right=lambda got: got == b"\x08\x01"),
        "again": infer(SMALL),
    }


@dataclass(frozen=True)
class GrpcProgram:
    """`command` gets HOST:PORT MANIFEST ANSWERS; `package` is Debian's."""

    name: str
    command: Callable[[], list[str]]
    package: str
    needs: tuple[str, ...]

    def version(self) -> str:
        """The package's; nothing where something is not installed."""
        if not all(shutil.which(one) or Path(one).exists() for one in self.needs):
            return ""
        said = ["dpkg-query", "-W", "-f", "${Version}", self.package]
        return subprocess.run(said, check=False, capture_output=True, text=True).stdout.strip()

    def results(self, server: Server, folder: Path) -> dict[str, str]:
        """By call: nothing where its answer is right, else what is wrong."""
        wanted, lines = calls(server.name), []
        for number, (name, call) in enumerate(wanted.items()):
            (folder / f"{number}.message").write_bytes(call.message)
            lines.append(f"{name}\t{call.method}\t{folder / f'{number}.message'}")
        (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
        command = [*self.command(), f"127.0.0.1:{server.grpc_port}", str(folder / "manifest.tsv"), str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
        said = dict(line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 1)
        found = {name: _fault(call, said.get(name), folder / name) for name, call in wanted.items()}
        return found if not done.returncode else {**found, "exit": done.stderr[-500:]}


def _fault(call: Call, status: str | None, answer: Path) -> str:
    # The two languages write the codes each in their own way: InvalidArgument, INVALID_ARGUMENT.
    plain = (status or "no answer").replace("_", "").upper()
    if plain != call.status.replace("_", ""):
        return f"{status} for {call.status}"
    return "" if status is None or plain != "OK" or call.right(answer.read_bytes()) else "another answer"


def _java() -> list[str]:
    jars = [*JARS.glob("grpc-*.jar"), *JARS.glob("netty-*.jar"), JARS / "guava.jar", JARS / "failureaccess.jar"]
    jars += [*JARS.glob("perfmark-api*.jar"), *JARS.glob("perfmark-impl*.jar"), *JARS.glob("opencensus-*.jar")]
    return ["java", "-cp", ":".join(map(str, jars)), str(SOURCES / "AskGrpc.java")]


def _go() -> list[str]:
    """Built once, from what Debian has of grpc-go: no module is fetched."""
    built = cache() / "ask_grpc"
    source = SOURCES / "ask_grpc.go"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        environment = {**os.environ, "GOPATH": str(GO), "GO111MODULE": "off", "GOCACHE": str(cache() / "go")}
        subprocess.run(["go", "build", "-o", str(built), str(source)], check=True, env=environment)
    return [str(built)]


GRPC_PROGRAMS = [
    GrpcProgram("grpc-java (Netty)", _java, "libgrpc-java", ("java", str(JARS / "grpc-netty.jar"))),
    GrpcProgram("grpc-go", _go, "golang-google-grpc-dev", ("go", str(GO / "src/google.golang.org/grpc"))),
]
