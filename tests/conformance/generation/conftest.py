"""A generation server with the small trained model and OpenVINO's engine, one for each file of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.generation.server import GenerationServer
from tests.models.language import openvino

Start = Callable[..., GenerationServer]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a server with settings of `generation`; all are ended with the file's last test."""
    pytest.importorskip("openvino_genai")
    servers: list[GenerationServer] = []

    def begin(model: Path | None = None, **generation: object) -> GenerationServer:
        folder = tmp_path_factory.mktemp("server")
        servers.append(GenerationServer(folder, model or openvino.folder(), generation))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(start: Start) -> GenerationServer:
    """One with the defaults, but for a queue that is soon full."""
    return start(maxWaitingTokens=4000).wait()
