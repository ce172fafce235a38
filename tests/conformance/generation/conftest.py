"""A generation server with the small trained model and OpenVINO's engine, one for each file of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.generation.server import GenerationServer
from tests.models.language import openvino, vllm

Start = Callable[..., GenerationServer]


ENGINES = ["openvino", pytest.param("vllm", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine: all tests here hold for both. vLLM's own is slow to start, and has an environment of its own."""
    if request.param == "vllm" and not vllm.program():
        pytest.skip(vllm.MISSING)
    return str(request.param)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Start]:
    """Start a server with settings of `generation`; all are ended with the file's last test."""
    pytest.importorskip("openvino_genai")
    servers: list[GenerationServer] = []

    def begin(model: Path | None = None, **generation: object) -> GenerationServer:
        folder = tmp_path_factory.mktemp("server")
        if engine == "vllm":
            generation.setdefault("kvCache", {"memory": "64Mi"})
            made = GenerationServer(folder, model or vllm.folder(), generation, vllm.program())
        else:
            made = GenerationServer(folder, model or openvino.folder(), generation)
        servers.append(made)
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(start: Start) -> GenerationServer:
    """One with the defaults, but for a queue that is soon full."""
    return start(maxWaitingTokens=4000).wait()
