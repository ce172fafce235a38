"""Finds names in a text that somebody else may own: packages, images, addresses. Called by test_names.py."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

from tests.cluster.paths import REPOSITORY

# Hosts whose pages or packages are meant. What is ours has no address yet, and examples use names made for examples.
HOSTS = {"json-schema.org", "www.apache.org", "www.w3.org", "deb.debian.org"}
RESERVED = ("example.com", ".invalid", ".svc", ".svc.cluster.local", "localhost")
# Registry and repository of images that a reader may pull; and the reader's own machine.
IMAGES = ("registry.invalid/", "registry.example.com/", "example.com/", "localhost/", "localhost:", "127.0.0.1:")
PULLED = ("docker.io/library/python:", "docker.io/library/busybox:", "docker.io/aquasec/trivy:")
# Code that others publish and that is named where it is used: GitHub owners, modules, actions.
OWNERS = {"vbatts", "modern-go", "kserve", "actions", "docker", "sigstore", "anchore"}
MODULES = {"sigs.k8s.io/kind"}
TOOLS = {"pip", "setuptools", "wheel", "horovod"}
OURS = "operator|trainer|trainer-horovod|quantizer|server|base"
# Where a value called `image` is one that somebody pulls; tests name images that nobody ever does.
SHIPPED = ("manifests/", "charts/", "images/", "docs/", "operator/", "workloads/", "README.md", "crds/")

_PIP = re.compile(r"\bpip3? (?:install|wheel|download)((?: +[^\s`|&;]+)+)")
_EXTRA = re.compile(r"\bslipway(-operator)?\[[a-z]")
_BARE = re.compile(rf"(?<![\w./:@-])slipway/(?:{OURS})(?![\w/.-]*\.py|/)\b")
_IMAGE = re.compile(r"\bimage[\"']?: *[\"']?([A-Za-z0-9][\w.:@/-]*)")
_QUOTED = re.compile(r"\bimage(?:[\"']: *|=|[a-z_]* = )[\"']([A-Za-z0-9][\w.:@/-]*)")
_OPTION = re.compile(r"--image[= ]([A-Za-z0-9][\w.:@/-]*)")
_FROM = re.compile(r"^(?:FROM|ARG (?:BASE|PYTHON)=|.*(?:BASE=| -t )) *([A-Za-z0-9][\w.:@/-]*)", re.MULTILINE)
_URL = re.compile(r"\b(?:https?|oci|git|ssh)://(?:[\w.-]+@)?([A-Za-z0-9][A-Za-z0-9.-]*)")
_OWNER = re.compile(r"\b(?:github|gitlab)\.com[/:]([\w-]+)/|\buses: ([\w-]+)/")
_FETCH = re.compile(r"\b(?:go install|npm install|npx|docker pull|helm repo add|brew install) ([^\s`@]+)")


@functools.cache
def tracked() -> list[Path]:
    """Every text file of the repository that git knows, as it is now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


@functools.cache
def packages() -> set[str]:
    """Names of the packages that the project really wants from an index."""
    lock = re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    project = re.findall(r'^    "([\w.-]+)[\[<>=!~";]', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    return {_normal(name) for name in (*lock, *project)} - {"slipway-operator"} | TOOLS


def foreign(name: str, text: str) -> list[str]:
    """What somebody else may answer to, in a file of that name, as a reader would type it."""
    found = [word for words in _PIP.findall(text) for word in _wanted(words) if word not in packages()]
    found += [match[0] for match in _EXTRA.finditer(text) if name != "pyproject.toml" or not match[1]]
    found += _BARE.findall(text)
    if name.startswith(SHIPPED):
        patterns = (_QUOTED if name.endswith(".py") else _IMAGE, _OPTION)
        images = [image for pattern in patterns for image in pattern.findall(text)]
        found += [image for image in images if not image.startswith((*IMAGES, *PULLED)) and image != "null"]
    if name.endswith("Dockerfile"):
        found += [image for image in _FROM.findall(text) if not image.startswith((*IMAGES, *PULLED))]
    found += [host for host in _URL.findall(text) if not _known(host)]
    found += [owner for pair in _OWNER.findall(text) for owner in pair if owner and owner not in OWNERS]
    return found + [module for module in _FETCH.findall(text) if module not in MODULES]


def _wanted(words: str) -> list[str]:
    """The packages of one pip command, up to where a sentence goes on."""
    names, skip = [], False
    for word in words.split():
        if word in {"and", "or", "in"}:
            break
        bare = word.strip("'\"(),.:;")
        if not skip and not word.startswith("-") and re.match(r"[A-Za-z]", bare):
            names.append(_normal(re.split(r"[\[<>=!~;@ ]", bare)[0]))
        skip = word in {"-r", "-c", "-w", "-d", "--find-links", "--python", "--progress-bar", "--no-binary"}
        if word[-1] in "'\"),.:;" and word[0] not in "'\"":
            break
    return names


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _known(host: str) -> bool:
    single = "." not in host or re.fullmatch(r"[\d.]+", host)
    return bool(single) or host in HOSTS or host.rstrip(".").endswith(RESERVED)
