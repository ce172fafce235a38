"""NVIDIA's own client, unmodified, over HTTP and gRPC.

It needs an older protobuf than this project, so it runs by another interpreter.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conformance import environments


def test_the_unmodified_client_is_content(serve) -> None:
    python, trouble = environments.client()
    if not python:
        pytest.skip(f"tritonclient cannot be installed here: {trouble}")
    server = serve("simple")
    script = Path(__file__).with_name("triton_client.py")
    done = subprocess.run(
        [python, str(script), str(server.port), str(server.grpc_port)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr
