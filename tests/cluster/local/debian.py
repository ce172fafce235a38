"""What the local cluster takes from Debian: packages through apt, and Kubernetes built from Debian's source package.

The build takes about 8 minutes on 2 cores, once: the binaries stay in the cache. The machine's own apt sources are left
alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.paths import cache, lock
from tests.cluster.say import expect, step

VERSION = "1.20.2"
_RECIPE = f"bookworm-{VERSION}-1"  # a new number builds anew
_COMPONENT_SECONDS = {
    "kube-apiserver": 240,
    "kube-controller-manager": 50,
    "kube-scheduler": 15,
    "kubelet": 45,
    "kube-proxy": 5,
}

RUNTIME = (
    *("python3", "etcd-server", "containerd", "runc", "containernetworking-plugins"),
    *("iptables", "conntrack", "iproute2", "socat", "util-linux"),
)
IMAGES = ("buildah", "debootstrap")
_BUILD = ("golang-go", "golang-github-modern-go-reflect2-dev", "rsync", "jq", "make", "dpkg-dev")


# Measured on 2 cores.
BUILD_SECONDS = {
    "download the Kubernetes source": 30.0,
    "generate the Kubernetes code": 80.0,
    **{f"compile {name}": float(seconds) for name, seconds in _COMPONENT_SECONDS.items()},
}


def install(packages: Sequence[str]) -> None:
    """Install the Debian packages that are missing. Needs root. Raises CalledProcessError."""
    with lock("apt"):
        missing = sorted(set(packages) - _installed())
        if missing:
            _install(missing)


def _install(missing: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {' '.join(missing)}"):
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
        try:
            quiet(*command, env=environment)
        except RuntimeError:  # no package lists, or too old ones
            quiet("apt-get", "update", "-q", env=environment)
            quiet(*command, env=environment)


def download(package: str, folder: Path) -> None:
    """Unpack a package into the folder without installing it. Raises RuntimeError."""
    with lock("apt"), tempfile.TemporaryDirectory() as scratch, step(f"download {package}"):
        Path(scratch).chmod(0o755)  # apt fetches as a user of its own
        try:
            quiet("apt-get", "download", "-q", package, cwd=scratch)
        except RuntimeError:  # no package lists, or too old ones
            quiet("apt-get", "update", "-q")
            quiet("apt-get", "download", "-q", package, cwd=scratch)
        (archive,) = Path(scratch).glob("*.deb")
        quiet("dpkg-deb", "-x", str(archive), str(folder))


def programs() -> Path:
    """Return the folder where the Kubernetes programs are, or will be once `kubernetes` has built them."""
    return cache() / "kubernetes" / _RECIPE


def prepare() -> None:
    """What a control plane needs, each step said. Needs root where something is missing."""
    kubernetes()
    if not shutil.which("etcd"):
        install(["etcd-server"])


def kubernetes() -> None:
    """Build the Kubernetes programs if this cache has none."""
    with lock("kubernetes"):
        if programs().exists():
            return
        expect(BUILD_SECONDS)
        install(_BUILD)
        _build()


def pause_program() -> Path:
    """Return a static program that does nothing but wait: what keeps a pod's namespaces open."""
    program = programs() / "pause"
    if not program.exists():
        install(["golang-go"])
        source = program.with_name("pause.go")
        source.write_text(_PAUSE)
        build = cache() / "build"
        quiet("go", "build", "-ldflags=-s -w", "-o", str(program), str(source), env=_go_environment(build))
        shutil.rmtree(build)
    return program


_PAUSE = """// The first process of every pod: waits for its end, and reaps what is left to it.
package main

import (
\t"os"
\t"os/signal"
\t"syscall"
)

func main() {
\tsignals := make(chan os.Signal, 8)
\tsignal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
\tfor received := range signals {
\t\tif received != syscall.SIGCHLD {
\t\t\treturn
\t\t}
\t\tfor pid := 1; pid > 0; {
\t\t\tpid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
\t\t}
\t}
}
"""


def _go_environment(build: Path) -> dict[str, str]:
    modules = {"GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}
    return {**os.environ, **modules, "GOCACHE": str(build / "gocache")}


def _build() -> None:
    build = cache() / "build"
    shutil.rmtree(build, ignore_errors=True)
    gopath = build / "go"
    tree = gopath / "src/k8s.io/kubernetes"
    tree.parent.mkdir(parents=True)
    with step("download the Kubernetes source"):
        _source("kubernetes", build)
        next(build.glob("kubernetes-*/")).rename(tree)
    # The vendored reflect2 1.0.1 reads maps through Go's internals and crashes under Go >= 1.18; Debian's 1.0.2 not.
    reflect2 = tree / "vendor/github.com/modern-go/reflect2"
    shutil.rmtree(reflect2)
    shutil.copytree("/usr/share/gocode/src/github.com/modern-go/reflect2", reflect2)
    environment = {**_go_environment(build), "GOPATH": str(gopath), "KUBE_GIT_VERSION": f"v{VERSION}"}
    with step("generate the Kubernetes code"):
        quiet("make", "generated_files", cwd=tree, env=environment)
    built = build / "bin"
    built.mkdir()
    for name in _COMPONENT_SECONDS:
        with step(f"compile {name}"):
            go = ["nice", "-n", "5", "go", "build", "-trimpath", f"-ldflags={_ldflags()}"]
            quiet(*go, "-o", f"{built}/", f"./cmd/{name}", cwd=tree, env=environment)
    programs().parent.mkdir(parents=True, exist_ok=True)
    built.rename(programs())
    shutil.rmtree(build)


def _source(package: str, folder: Path) -> None:
    """Unpack a Debian source package, patched. Most machines have no deb-src line: apt gets a configuration of ours."""
    lists = folder / "apt" / "lists"
    (lists / "partial").mkdir(parents=True)
    sources = folder / "apt" / "sources.list"
    sources.write_text(f"deb-src {_mirror()} bookworm main\n")
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": lists,
        "Dir::Cache::pkgcache": folder / "apt/pkgcache.bin",
        "Dir::Cache::srcpkgcache": folder / "apt/srcpkgcache.bin",
        "APT::Sandbox::User": "root",
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    quiet("apt-get", *options, "update", "-q", cwd=folder)
    quiet("apt-get", *options, "source", "-q", package, cwd=folder)


def _mirror() -> str:
    """Return the mirror that this machine takes bookworm's main from, so that a local mirror serves sources too."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(CODENAME)"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    sites = [line.split()[0] for line in listed.splitlines() if line.endswith(" bookworm")]
    return sites[0] if sites else "http://deb.debian.org/debian"


def _ldflags() -> str:
    """Stamp the version: without it the server calls itself v0.0.0-master, which clients refuse."""
    major, minor, _ = VERSION.split(".")
    values = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = [
        f"{prefix}k8s.io/{package}/version"
        for package in ("component-base", "client-go/pkg")
        for prefix in ("", "k8s.io/kubernetes/vendor/")
    ]
    return "-s -w " + " ".join(f"-X {p}.{name}={value}" for p in packages for name, value in values.items())


def _installed() -> set[str]:
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Status}\n"], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[0] for line in listed.splitlines() if line.endswith("install ok installed")}


def quiet(*argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run a program and show what it said only if it fails. Raises CalledProcessError."""
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise RuntimeError(f"{' '.join(argv)[:200]} failed with {done.returncode}:\n{tail}")
