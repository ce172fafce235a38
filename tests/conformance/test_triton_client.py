"""NVIDIA's own client, unmodified, over HTTP and gRPC.

It needs an older protobuf than this project, so it runs by another interpreter: TRITONCLIENT_PYTHON, whose environment
has `tritonclient[http,grpc]`. Without one the test is skipped.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PYTHON = os.environ.get("TRITONCLIENT_PYTHON", "")


@pytest.mark.skipif(not PYTHON, reason="TRITONCLIENT_PYTHON names no interpreter with tritonclient[http,grpc]")
def test_the_unmodified_client_is_content(serve) -> None:
    server = serve("simple")
    script = Path(__file__).with_name("triton_client.py")
    done = subprocess.run(
        [PYTHON, str(script), str(server.port), str(server.grpc_port)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr
