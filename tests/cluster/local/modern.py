"""API servers and a controller manager of today, built from source: what users have, where Debian 12's is of 2021.

CEL rules in CRDs, ValidatingAdmissionPolicies, policy/v1 and autoscaling/v2 are served by this one only. Debian has no
source package with a server newer than 1.20 (trixie's holds kubectl alone), so the source is the project's own, at a
tag, with its dependencies in it; Go comes from trixie's backports, unpacked and not installed. `make test-modern`
builds it; tests that need it are skipped where it has not been built.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import trixie
from tests.cluster.local import debian
from tests.cluster.local.debian import quiet
from tests.cluster.paths import cache, lock
from tests.cluster.say import expect, step

VERSION = "1.36.2"
GO = "1.26"
_RECIPE = f"modern-{VERSION}-1"  # a new number builds anew
_UPSTREAM = "https://github.com/kubernetes/kubernetes"
# On 2 cores, estimated: each begins with what those before it have compiled.
_BUILD_SECONDS = {
    "staging/src/k8s.io/apiextensions-apiserver": 300.0,
    "cmd/kube-apiserver": 300.0,
    "cmd/kube-controller-manager": 120.0,
}


class NotBuiltError(Exception):
    """The programs are not in the cache; the text says how they get there."""


def program(name: str) -> Path:
    """One of the programs. Raises NotBuiltError."""
    path = programs() / name
    if not path.exists():
        raise NotBuiltError(f"{name} {VERSION} has not been built on this machine: `make test-modern` builds it")
    return path


def programs() -> Path:
    """The folder of the programs."""
    return cache() / "kubernetes" / _RECIPE


def prepare() -> None:
    """What such a control plane needs beside its programs. Raises NotBuiltError."""
    for path in _BUILD_SECONDS:
        program(Path(path).name)
    if not shutil.which("etcd"):
        debian.install(["etcd-server"])


def build() -> None:
    """Build the programs if this cache has none: about 10 minutes, 3 GB of disk meanwhile, 150 MB in the end.

    $SLIPWAY_KUBERNETES_SOURCE: another git repository with the tag, such as a mirror. An interrupted build goes on
    where it was. Raises OutOfReachError, RuntimeError.
    """
    with lock("kubernetes-modern"):
        missing = [path for path in _BUILD_SECONDS if not (programs() / Path(path).name).exists()]
        if not missing:
            return
        debian.install(["git", "ca-certificates"])
        expect({"fetch the Kubernetes source": 60.0, **{f"compile {path}": _BUILD_SECONDS[path] for path in missing}})
        go = trixie.unpacked(f"go-{GO}", [f"golang-{GO}-go", f"golang-{GO}-src"], "trixie-backports")
        _build(go / "usr" / "lib" / f"go-{GO}", missing)


def _build(goroot: Path, missing: Sequence[str]) -> None:
    build = cache() / "build-modern"
    tree, built = build / "kubernetes", build / "bin"
    shutil.rmtree(tree, ignore_errors=True)
    built.mkdir(parents=True, exist_ok=True)
    with step("fetch the Kubernetes source"):
        source = os.environ.get("SLIPWAY_KUBERNETES_SOURCE") or _UPSTREAM
        quiet("git", "clone", "-q", "--depth=1", f"--branch=v{VERSION}", source, str(tree))
    programs().mkdir(parents=True, exist_ok=True)
    for path in missing:
        with step(f"compile {path}"):
            # Profile-guided optimization would compile every package once more for each program.
            go = ["nice", "-n", "5", str(goroot / "bin/go"), "build", "-pgo=off", "-trimpath"]
            flags = f"-ldflags={debian.ldflags(VERSION)}"
            quiet(*go, flags, "-o", f"{built}/", f"./{path}", cwd=tree, env=_environment(goroot, build))
        (built / Path(path).name).rename(programs() / Path(path).name)
    shutil.rmtree(build)


def _environment(goroot: Path, build: Path) -> dict[str, str]:
    """Nothing is downloaded but the source: neither modules nor another Go. Two compilers at a time fit into 4 GB."""
    offline = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=vendor -p=2", "CGO_ENABLED": "0"}
    places = {"GOROOT": str(goroot), "GOPATH": str(build / "go"), "GOCACHE": str(build / "gocache")}
    return {**os.environ, **offline, **places, "GOGC": "50"}
