"""Page of versions, read from where they are fixed: `python -m tests.unit.docs.compatibility` writes it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.cluster.local import debian
from tests.cluster.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "compatibility.md"
# Package of requirements.lock, and what it is for.
PACKAGES = {
    "torch": "training, export, and an engine of the server",
    "torchvision": "models of `vision`",
    "transformers": "language models, text classifiers",
    "peft": "adapters",
    "deepspeed": "`launcher: deepspeed`, ZeRO",
    "onnx": "quantization, export",
    "onnxruntime": "quantization, `engine.name: onnxruntime`, on CPUs",
    "openvino": "quantization for it, and below `openvino-genai`",
    "openvino-genai": "language models on CPUs",
    "tensorrt-rtx": "builds and parses engines in the tests; nothing runs without a GPU",
    "ai-edge-litert": "`engine.name: litert`",
    "torchao": "quantization-aware training",
    "optuna": "SearchJob",
    "hls4ml": "`target.runtime: hls`",
    "kopf": "the operator",
    "aiohttp": "the operator",
    "pydantic": "the API's models",
    "kubernetes": "the Python client and `slipway`",
}


def _text(path: str) -> str:
    return (REPOSITORY / path).read_text()


def _found(pattern: str, path: str) -> str:
    """The one thing that a file says. Raises ValueError where it says none, or several."""
    (found,) = set(re.findall(pattern, _text(path), re.MULTILINE))
    return str(found)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub("[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    """Version of each package of the lock."""
    return {
        normal(name): version
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", _text("requirements.lock"), re.MULTILINE)
    }


def ranges() -> dict[str, str]:
    """What pyproject.toml takes of a package: the narrowest of what its extras say is what an image gets."""
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    found: dict[str, set[str]] = {}
    for requirement in (one for group in groups for one in group):
        name, extent = re.match(r"([\w.-]+)(?:\[[\w,]+\])?([^;]*)", requirement).groups()  # type: ignore[union-attr]
        found.setdefault(normal(name), set()).add(extent.strip())
    return {name: " or ".join(sorted(extents)) for name, extents in found.items()}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Rows as Markdown has them."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def kubernetes() -> str:
    """On what the tests run."""
    modern = _found(r"\(tried with (\d\.\d+)\)", "CONTRIBUTING.md")
    kind = _found(r"^ +KIND_VERSION: (v\S+)$", ".github/workflows/kind.yaml")
    rows = [
        (
            debian.VERSION,
            "all: API, chaos, hostile, end to end, all launchers, installations",
            "`make test`, `make e2e`",
        ),
        (
            modern,
            "the API: CRDs with CEL, admission policies, Pod Security, and the tests of `tests/api`; no nodes",
            "`make test-modern`",
        ),
        (
            f"what kind {kind} brings",
            "the demo and the end-to-end tests; no run is kept in the repository",
            "workflow `kind`",
        ),
        ("any other, a provider's, OpenShift", "none", "[platforms](platforms.md)"),
    ]
    return table(("Kubernetes", "tests that ran on it", "by"), rows)


def packages() -> str:
    """What the environment of the tests holds, and what is taken from an index."""
    lock, taken = locked(), ranges()
    rows = [(f"`{name}`", lock[name], taken.get(name, "of another package"), use) for name, use in PACKAGES.items()]
    return table(("package", "tested with", "taken", "for"), rows)


def elsewhere() -> str:
    """What tests meet in an environment of its own, and what only an image of one's own has."""
    gpu = dict(re.findall(r"^([\w-]+)([<>=].*)$", _text("images/gpu/server.txt"), re.MULTILINE))
    rows = [
        (
            "Ray",
            _found(r'^RAY = "ray\[\S+\]==(\S+)"$', "tests/unit/trainingjob/programs/ray_peer.py"),
            "`launcher: ray`: clusters of processes, in an environment of its own",
        ),
        (
            "vLLM",
            _found(r'^VERSION = "(\S+)"$', "tests/models/language/vllm.py"),
            "`engine.name: vllm` on CPUs, in an environment of its own",
        ),
        (
            "Horovod",
            _found(r" horovod==(\S+)$", "images/horovod/wheel.sh"),
            "`launcher: horovodrun`, built by images/horovod",
        ),
        *(
            (name, gpu[name], "images/gpu, **never built and never run**")
            for name in ("tensorrt-cu12", "onnxruntime-gpu", "cuda-python")
        ),
    ]
    return table(("what", "version", "how"), rows)


def page() -> str:
    """The page."""
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    base = _found(r"^ARG BASE=\S+/python:(\d\.\d+)\S*$", "images/operator/Dockerfile")
    return f"""<!-- Generated by `python -m tests.unit.docs.compatibility`: change what it reads, not this page. -->

# Compatibility

Versions that tests ran on, read from where the repository fixes them; a test holds the page to that. What lies between
or beyond was not tried.

## Kubernetes

{kubernetes()}

From 1.25 on the server itself refuses what the CRDs' rules (CEL) refuse; before, the operator does, in the same words.
Admission policies need 1.30, the overlay `high-availability` 1.21.

## Python

{project["requires-python"].removeprefix(">=")} or newer by pyproject.toml; the images hold {base}, with which
the tests run.

## Packages

Of the images and of the tests' environment, by `requirements.lock`; "taken" is what pyproject.toml allows:

{packages()}

## Elsewhere

{elsewhere()}

What has run on a GPU is in the [index](README.md#what-has-run-on-a-gpu).
"""


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page())


if __name__ == "__main__":
    write()
