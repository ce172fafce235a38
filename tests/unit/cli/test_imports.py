"""What the two programs import before they do anything: counted in modules, which no busy machine changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}


def modules_after(code: str, **environment: str) -> set[str]:
    program = f"import sys, json\n{code}\nprint(json.dumps(list(sys.modules)))"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_of_the_command_imports_no_models_and_no_libraries_that_it_does_not_need() -> None:
    """All kinds' pydantic models took a second of `slipway --help`, and of each `slipway status` that only reads."""
    taken = modules_after("import slipway.cli.app")
    assert not {"pydantic", "yaml", "aiohttp", "asyncio", "kopf", "kubernetes", "slipway.cli.preview"} & taken
    assert not [name for name in taken if name.startswith(("slipway.api", "slipway.trainingjob.plan"))]
    # 176 when this was written: 567 before. Typer and the standard library are most of them.
    assert len(taken) < 230


def test_the_operator_takes_no_other_client_of_kubernetes_although_kopf_would() -> None:
    code = """
import slipway.__main__
try:
    slipway.__main__.run()
except SystemExit as end:
    assert end.code == 2
"""
    taken = modules_after(code, SLIPWAY_WORKERS="0")
    assert "kopf" in taken
    assert not [name for name in taken if name.startswith(("kubernetes.", "kubernetes_asyncio.", "pykube."))]
