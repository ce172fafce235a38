"""Clients that others wrote, as they are installed: each gets the same inputs, and must be answered rightly."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.conformance.clients.generators import GENERATORS
from tests.conformance.clients.grpc_programs import GRPC_PROGRAMS
from tests.conformance.clients.inputs import Inputs
from tests.conformance.clients.programs import PROGRAMS
from tests.conformance.clients.protocol import PROTOCOLS


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.name)
def test_a_program(serve, program) -> None:
    if not program.there:
        pytest.skip(f"{program.name} is not installed")
    server = serve("float")
    results = program.results(f"http://127.0.0.1:{server.port}", Inputs(server.name))
    assert not {name: fault for name, fault in results.items() if fault}


@pytest.mark.parametrize("client", PROTOCOLS, ids=lambda one: one.name)
def test_a_client_of_the_protocol(serve, client) -> None:
    if not client.version():
        pytest.skip(f"{client.package} is not installed")
    assert not {name: fault for name, fault in client.results(serve("float")).items() if fault}


@pytest.mark.parametrize("program", GRPC_PROGRAMS, ids=lambda one: one.name)
def test_a_grpc_client_of_another_language(serve, tmp_path, program) -> None:
    if not program.version():
        pytest.skip(f"{program.name} is not installed")
    assert not {name: fault for name, fault in program.results(serve("float"), tmp_path).items() if fault}


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda one: one.name)
def test_a_load_generator(serve, tmp_path, generator) -> None:
    if not generator.there:
        pytest.skip(f"{generator.name} is not installed")
    server = serve("float")
    Inputs(server.name).write(tmp_path)
    url = f"http://127.0.0.1:{server.port}/v2/models/{server.name}/infer"
    counted = generator.run(url, tmp_path / "small.body", 200)
    assert counted.right == counted.sent > 0
    assert counted.kept in {None, 200}


def test_an_offer_of_http_2_with_a_method_that_is_not_allowed(serve) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url = f"http://127.0.0.1:{serve('float').port}/v2/models/float/infer"
    command = ["curl", "-sS", "-m", "20", "-w", " %{http_code}", "--http2", "-I", url]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.endswith(" 405")
