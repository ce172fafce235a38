"""Commands and YAML in the documents are ones that exist: targets, subcommands, modules, kinds, extras, manifests."""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from slipway.api.codegen.crd import KINDS, TEMPLATES, definition
from slipway.api.common.types import API_VERSION
from slipway.api.quantization.quantizationjob import spec_problems as quantization_problems
from slipway.api.search.searchjob import spec_problems as search_problems
from slipway.api.serving.inferenceservice import spec_problems as service_problems
from slipway.api.training.trainingjob import spec_problems as training_problems
from slipway.cli.app import app
from tests.cluster.paths import REPOSITORY
from tests.unit.api.admission import Admission, unknown_fields
from tests.unit.docs.test_proofs import PAGES
from tests.unit.gitops.build import build, of_kind
from workloads.__main__ import COMMANDS

REMOTE = "https://git.example.com/platform/slipway//"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
BUILT_IN = {
    "httproute",
    "node",
    "pdb",
    "pods",
    "pod",
    "service",
    "services",
    "deployment",
    "lease",
    "events",
    "pvc",
    "all",
}
PROBLEMS = {
    "TrainingJob": training_problems,
    "QuantizationJob": quantization_problems,
    "InferenceService": service_problems,
    "SearchJob": search_problems,
}
ADMISSIONS = {kind.kind: Admission(kind) for kind in KINDS}


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of each line in a block of shell and of each span of code that begins with a program."""
    for page in PAGES:
        text = page.read_text()
        name = str(page.relative_to(REPOSITORY))
        for language, block in BLOCK.findall(text):
            yield from ((name, line.split(" #")[0].strip()) for line in block.splitlines() if language == "sh")
        for span in SPAN.findall(BLOCK.sub("", text)):
            if re.match(r"(make|kubectl|slipway|python|pytest|pip|helm) ", span):
                yield name, " ".join(span.split())


def kinds() -> set[str]:
    """All names by which kubectl knows ours."""
    names = [definition(kind)["spec"]["names"] for kind in (*KINDS, *TEMPLATES)]
    return {word for n in names for word in (n["plural"], n["singular"], *n["shortNames"])}


def _make(words: list[str]) -> None:
    target = next(word for word in words[1:] if not word.startswith("-"))
    assert f"\n{target}:" in (REPOSITORY / "Makefile").read_text()


def _slipway(words: list[str]) -> None:
    group = typer.main.get_command(app)
    options = [option for parameter in group.params for option in parameter.opts]
    subcommands = group.commands  # type: ignore[attr-defined]
    assert words[1] in [*subcommands, *options, "--help"]
    if words[1] in subcommands and words[1] != "local":
        own = {option for one in subcommands[words[1]].params for option in (*one.opts, *one.secondary_opts)}
        given = {word.split("=")[0] for word in words[2:] if re.match(r"-[-A-Za-z]", word)}
        assert given <= own | {"--help"}, given - own


def _kubectl(words: list[str]) -> None:
    if words[1] == "slipway":
        return _slipway(words[1:]) if len(words) > 2 else None
    if words[1] in {"get", "wait", "scale", "delete", "describe"} and len(words) > 2 and not words[2].startswith("-"):
        for word in words[2].split("/")[0].split(","):
            assert word in kinds() | BUILT_IN, word
    return None


def _python(words: list[str]) -> None:
    assert words[1] == "-m"
    assert importlib.util.find_spec(words[2]), words[2]
    if words[2] == "workloads" and len(words) > 3:
        assert words[3] in COMMANDS


def _pip(words: list[str]) -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in re.findall(r"\.\[([\w,-]+)\]", " ".join(words)):
        assert set(extra.split(",")) <= set(extras)


def _helm(words: list[str]) -> None:
    assert words[1] in {"install", "upgrade", "uninstall"}
    if words[1] == "install" and not words[2].startswith("-"):
        assert (REPOSITORY / words[3] / "Chart.yaml").is_file()


CHECKS = {
    "helm": _helm,
    "make": _make,
    "slipway": _slipway,
    "kubectl": _kubectl,
    "python": _python,
    "pytest": lambda words: None,
    "pip": _pip,
}


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_a_command_names_what_is_there(page: str, command: str) -> None:
    for file in re.findall(r"(?:^|\s)((?:manifests|crds|tests|images)(?:/[/\w.-]+)?)(?=\s|$)", command):
        assert (REPOSITORY / file).exists(), file
    for part in command.split(" | "):
        words = part.split()
        if words:
            assert words[0] in CHECKS, f"{page}: {words[0]} is checked by nothing"
            CHECKS[words[0]](words)


def test_the_commands_were_found() -> None:
    programs = {command.split()[0] for _, command in commands() if command}
    assert programs == set(CHECKS)


# What others call theirs, where their resource stands beside ours: test_side_by_side.py compares the two.
FOREIGN = {
    ("kubeflow.org/v1", "PyTorchJob"),
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
    ("kubeflow.org/v2beta1", "MPIJob"),
    ("serving.kserve.io/v1beta1", "InferenceService"),
    ("kubeflow.org/v1beta1", "Experiment"),
}


def _documents() -> list[object]:
    found = [(page, text) for page in PAGES for language, text in BLOCK.findall(page.read_text()) if language == "yaml"]
    return [pytest.param(text, id=f"{page.stem}-{number}") for number, (page, text) in enumerate(found)]


@pytest.mark.parametrize("text", _documents())
def test_yaml_is_taken_by_admission_and_operator(text: str, tmp_path: Path) -> None:
    for document in yaml.safe_load_all(text):
        if document.get("apiVersion") == API_VERSION:
            admission = ADMISSIONS[document["kind"]]
            assert unknown_fields(document, admission.schema) == []
            assert admission.refusals(document) == []
            _, problems = PROBLEMS[document["kind"]](document["metadata"]["name"], document["spec"])
            assert not problems
        elif (document["apiVersion"], document["kind"]) not in FOREIGN:
            assert document["kind"] == "Kustomization", "nothing knows yet how to try this kind"
            _builds(document, tmp_path)


def _builds(kustomization: dict[str, object], folder: Path) -> None:
    """As it stands, but for the repository, which is this one."""
    here = os.path.relpath(REPOSITORY, folder.resolve())
    text = yaml.safe_dump(kustomization).replace(REMOTE, f"{here}/").replace("?ref=v0.1.0", "")
    (folder / "kustomization.yaml").write_text(text)
    (operator,) = of_kind(build(folder), "Deployment")
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/slipway/operator:0.1.0"
