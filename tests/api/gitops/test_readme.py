"""README's way to install, word by word: each line of its section is run against an API server as it stands there.

Only what the section says itself is different: which of the blocks is for servers before 1.25, and the registry, which
is the reader's own. `make push` is run by tests/e2e/installing/test_strangers.py; here its file is written, and `helm`
is Helm's library behind the words of its command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.api.stage import Stage
from tests.cluster.kubectl import Kubectl
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.paths import REPOSITORY
from tests.unit.docs.blocks import blocks, lines, section
from tests.unit.gitops.build import kubectl as able_kubectl

pytestmark = pytest.mark.api
INSTALL = section(REPOSITORY / "README.md", "## Install")
REMOTE = "https://git.example.com/platform/slipway//"
# Which test_the_package_is_installed_by_its_line runs.
PIP = "pip install '.[cli]'"
OPERATOR = ("-n", "slipway-system", "deployment", "slipway-operator")
ROLES = tuple(f"/slipway-{name}" for name in ("operator", "operator-cluster", "tenant", "edit", "view"))
HELM = """
import sys
import helm_python
words = sys.argv[1:]
assert words[0] == "install", words
options = {w.split("=")[0]: words[i + 1] for i, w in enumerate(words) if w in ("--namespace", "--set")}
chart = words[2]
if "--skip-crds" in words:
    import shutil, tempfile
    chart = shutil.copytree(chart, tempfile.mkdtemp() + "/slipway", ignore=shutil.ignore_patterns("crds"))
with helm_python.Config(kubeconfig_path=sys.argv[0] + ".kubeconfig", namespace=options["--namespace"]) as config:
    config.install(
        str(chart), words[1], helm_python.parse_set_string(options["--set"]),
        namespace=options["--namespace"], create_namespace="--create-namespace" in words,
    )
"""


class Reader:
    """Types lines into a shell in the checkout, with the server as his cluster."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.kubectl, self.old = Kubectl(plane.kubeconfig), plane.release.minor < 25
        programs = folder / "bin"
        programs.mkdir()
        self._program(programs / "slipway", f'exec {sys.executable} -m slipway.cli.app "$@"')
        self._program(programs / "kubectl", f'exec {_path(able_kubectl())} "$@"')
        self._program(programs / "helm", f'exec {sys.executable} {programs}/helm.py "$@"')
        self._program(programs / "make", 'echo "make $*" >&2; cat "$PUSHED"')
        (programs / "helm.py").write_text(HELM)
        (programs / "helm.py.kubeconfig").write_text(plane.kubeconfig.read_text())
        digests = {
            name: f"sha256:{str(n) * 64}" for n, name in enumerate(("operator", "trainer", "quantizer", "server"))
        }
        pushed = folder / "pushed"
        pushed.write_text("".join(f"{n}=registry.example.com/slipway/{n}:0.1.0@{d}\n" for n, d in digests.items()))
        # As a reader's checkout, and clean afterwards.
        self.checkout = folder / "checkout"
        self.checkout.mkdir()
        for name in ("charts", "crds", "manifests", "operator", "pyproject.toml"):
            (self.checkout / name).symlink_to(REPOSITORY / name)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "KUBECONFIG": str(plane.kubeconfig), "PUSHED": str(pushed)}
        self._environment["PYTHONPATH"] = str(REPOSITORY / "operator")

    def types(self, line: str) -> str:
        """Run one line; what it printed. Fails with its words."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.checkout,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"
        return done.stdout

    def takes_away(self) -> None:
        """The whole installation, whichever way it came."""
        for kind in ("clusterrole", "clusterrolebinding"):
            names = [n for n in self.kubectl("get", kind, "-o", "name").split() if n.endswith(ROLES)]
            if names:
                self.kubectl("delete", *names)
        self.kubectl("delete", "namespace", "slipway-system", "--ignore-not-found", "--timeout=90s")

    @staticmethod
    def _program(file: Path, script: str) -> None:
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)


def _path(program: str) -> str:
    found = subprocess.run(["which", program], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.fixture
def reader(stage: Stage, tmp_path: Path) -> Iterator[Reader]:
    one = Reader(stage.plane, tmp_path)
    one.takes_away()
    yield one
    one.takes_away()


def image_of(reader: Reader) -> str:
    (container,) = reader.kubectl.get(*OPERATOR)["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def test_the_section_has_the_lines_that_are_run_here() -> None:
    programs = [line.split()[0] for line in lines(INSTALL)]
    assert programs == ["make", "pip", "slipway", "helm", "kubectl", "kubectl", "slipway", "python"]
    assert lines(INSTALL)[0].startswith("make -s push REGISTRY="), "which tests/e2e/installing/test_strangers.py runs"
    assert lines(INSTALL)[1] == PIP


def test_by_slipway_install(reader: Reader) -> None:
    push, _, modern, _, crds, old_crds, old, secret = lines(INSTALL)
    reader.types(push)
    for line in [old_crds, old] if reader.old else [crds, modern]:
        reader.types(line)
    assert image_of(reader) == f"registry.example.com/slipway/operator@sha256:{'0' * 64}"
    reader.types(secret)
    assert reader.kubectl.exists("-n", "slipway-system", "secret", "slipway-status-tls")


def test_by_helm(reader: Reader) -> None:
    _, _, _, helm, crds, old_crds, _, _ = lines(INSTALL)
    reader.types(old_crds if reader.old else crds)
    reader.types(f"{helm} --skip-crds" if reader.old else helm)
    assert image_of(reader) == "registry.example.com/slipway/operator:0.1.0"


def test_by_kustomize(reader: Reader) -> None:
    _, _, _, _, crds, old_crds, _, _ = lines(INSTALL)
    (kustomization,) = blocks(INSTALL, "yaml")
    (reader.checkout / "mine").mkdir()
    # The repository is this one; where a reader's lies is an example.
    manifests = os.path.relpath(REPOSITORY / "manifests", (reader.checkout / "mine").resolve())
    text = kustomization.replace(f"{REMOTE}manifests", manifests).replace("?ref=v0.1.0", "")
    (reader.checkout / "mine" / "kustomization.yaml").write_text(text)
    reader.types(old_crds if reader.old else crds)
    reader.types("kubectl apply -k mine")
    assert image_of(reader) == "registry.example.com/slipway/operator:0.1.0"


def test_what_the_section_says_of_old_servers_is_so(reader: Reader) -> None:
    """Server-side application and validation are what they refuse; what is written for them works everywhere."""
    if not reader.old:
        reader.types("kubectl apply -k crds --server-side --force-conflicts")
        return
    for line in ("kubectl apply -k crds", "kubectl apply --server-side --validate=false -k crds"):
        with pytest.raises(AssertionError, match="x-kubernetes-validations"):
            reader.types(line)
    reader.types("kubectl apply --validate=false -k crds")


@pytest.mark.slow
def test_the_package_is_installed_by_its_line(reader: Reader, tmp_path: Path) -> None:
    """pip, in an environment of its own; then `slipway` and `kubectl slipway` are there and need no checkout."""
    pip = lines(INSTALL)[1]
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    done = subprocess.run(
        ["bash", "-c", pip],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for words in (["slipway"], ["kubectl-slipway"]):
        printed = subprocess.run(
            [str(tmp_path / "venv" / "bin" / words[0]), "install", "--registry", "registry.example.com/slipway"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert [obj["kind"] for obj in yaml.safe_load_all(printed)].count("CustomResourceDefinition") == 3


def test_without_the_script_argo_cd_is_not_promised(stage: Stage) -> None:
    """Argo CD takes kinds without a script for healthy: README must not promise more, and must name the script."""
    text = " ".join((REPOSITORY / "README.md").read_text().split())
    assert "`kubectl wait` and Flux judge them without extra configuration." in text
    assert "[manifests/argocd](manifests/argocd) teaches it the three kinds by a script" in text
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))):
        words = " ".join(page.read_text().split())
        assert "Argo CD and Flux judge" not in words, page
