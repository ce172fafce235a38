"""`python -m tests.perf.operator.start_bench`: CPU time and modules of each program before it does anything.

The least of some rounds, in turn: what else runs on the machine makes a start dearer, and never cheaper.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.paths import REPOSITORY
from tests.perf import machine

BARE = "pass"
OPERATOR = "import slipway.__main__, contextlib\nwith contextlib.suppress(SystemExit): slipway.__main__.run()"
PROGRAMS = {
    "python": BARE,
    "slipway --help": "import sys; sys.argv[1:] = ['--help']; import slipway.cli.app as app\n"
    "try: app.run()\nexcept SystemExit: pass",
    "slipway-operator": OPERATOR,
    "python -m workloads --help": "import runpy, sys; sys.argv[1:] = ['--help']\n"
    "try: runpy.run_module('workloads', run_name='__main__')\nexcept SystemExit: pass",
}


def start(code: str) -> tuple[float, int]:
    """(CPU seconds, modules) of a fresh interpreter that runs this."""
    program = f"{code}\nimport sys; sys.stderr.write('\\n' + str(len(sys.modules)))"
    path = f"{REPOSITORY / 'operator'}:{REPOSITORY}"
    # No setting of the operator's: it ends once everything is imported.
    environment = {**os.environ, "PYTHONPATH": path, "SLIPWAY_WORKERS": "0"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, int(done.stderr.splitlines()[-1])


def measure(rounds: int) -> dict[str, Any]:
    """Each program's least CPU time, and its modules."""
    found = [{name: start(code) for name, code in PROGRAMS.items()} for _ in range(rounds)]
    rows = {
        name: {"cpuSeconds": round(min(one[name][0] for one in found), 3), "modules": found[0][name][1]}
        for name in PROGRAMS
    }
    return {"machine": machine.describe(), "load": machine.load(), "rounds": rounds, "starts": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    machine.write(measure(options.rounds), options.out)


if __name__ == "__main__":
    main()
