"""A Kubernetes that somebody else built: what users have, where Debian 12's is of 2021.

CEL rules in CRDs, ValidatingAdmissionPolicies, Pod Security, policy/v1 and autoscaling/v2: only such a one has them.
$SLIPWAY_KUBERNETES names the folder with kube-apiserver and kube-controller-manager, as the server archive of a release
has them; `make test-modern` runs the tests with an API server on it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.cluster.local import debian

VARIABLE = "SLIPWAY_KUBERNETES"
PROGRAMS = ("kube-apiserver", "kube-controller-manager")


class NotGivenError(Exception):
    """There is no such folder, or not all of the programs are in it; the text says what to do."""


def programs() -> Path:
    """The folder of the programs. Raises NotGivenError."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise NotGivenError(f"no Kubernetes but Debian's: set {VARIABLE} to the folder of another one's programs")
    missing = [name for name in PROGRAMS if not (Path(folder) / name).is_file()]
    if missing:
        raise NotGivenError(f"{VARIABLE}: {folder} has no {' and no '.join(missing)}")
    return Path(folder).resolve()


def minor() -> int:
    """Of its version 1.x. Raises NotGivenError."""
    said = subprocess.run([programs() / PROGRAMS[0], "--version"], check=True, capture_output=True, text=True).stdout
    found = re.match(r"Kubernetes v1\.(\d+)", said)
    if found is None:
        raise NotGivenError(f"{PROGRAMS[0]} --version says no version: {said!r}")
    return int(found[1])


def prepare() -> None:
    """What such a control plane needs beside its programs. Raises NotGivenError."""
    programs()
    if not shutil.which("etcd"):
        debian.install(["etcd-server"])
