"""The manifests for Argo CD say what they mean: the script arrives in argocd-cm, waves and paths are right."""

from __future__ import annotations

from pathlib import Path

import yaml

from slipway.api.codegen.crd import KINDS, TEMPLATES
from tests.cluster.paths import REPOSITORY
from tests.unit.gitops.build import build, of_kind
from tests.unit.gitops.health import ARGOCD, SCRIPT

WAVE = "argocd.argoproj.io/sync-wave"
APPLICATIONS = {app["metadata"]["name"]: app for app in yaml.safe_load_all((ARGOCD / "applications.yaml").read_text())}


def test_the_component_adds_the_script_to_argocd_cm(tmp_path: Path) -> None:
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}}
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump({**base, "data": {"url": "https://argocd.example.com"}}))
    component = tmp_path / "slipway"
    component.mkdir()
    for name in ("kustomization.yaml", "health.lua"):
        (component / name).write_text((ARGOCD / name).read_text())
    (tmp_path / "kustomization.yaml").write_text("resources: [argocd-cm.yaml]\ncomponents: [slipway]\n")
    (merged,) = build(tmp_path)
    prefix = "resource.customizations.health.slipway.dev_"
    scripts = {key.removeprefix(prefix): text for key, text in merged["data"].items() if key.startswith(prefix)}
    assert scripts == dict.fromkeys(("TrainingJob", "QuantizationJob", "InferenceService", "SearchJob"), SCRIPT)
    assert merged["data"]["url"] == "https://argocd.example.com"
    assert merged["metadata"]["name"] == "argocd-cm"


def test_the_crds_go_a_wave_before_the_operator() -> None:
    objects = build(ARGOCD / "install")
    waves = {crd["metadata"]["annotations"][WAVE] for crd in of_kind(objects, "CustomResourceDefinition")}
    assert waves == {"-1"}
    assert len(of_kind(objects, "CustomResourceDefinition")) == len((*KINDS, *TEMPLATES))
    (operator,) = of_kind(objects, "Deployment")
    assert WAVE not in operator["metadata"].get("annotations", {})


def test_the_applications_name_what_is_there() -> None:
    for app in APPLICATIONS.values():
        assert (REPOSITORY / app["spec"]["source"]["path"]).is_dir()
    include = APPLICATIONS["digits"]["spec"]["source"]["directory"]["include"]
    names = include.removeprefix("{").removesuffix("}.yaml").split(",")
    assert all((REPOSITORY / "manifests" / "examples" / f"{name}.yaml").is_file() for name in names)
    waves = {name: int(app["metadata"]["annotations"][WAVE]) for name, app in APPLICATIONS.items()}
    assert waves["slipway"] < waves["digits"]


def test_no_model_of_the_example_is_trained_again_by_self_heal() -> None:
    assert APPLICATIONS["digits"]["spec"]["syncPolicy"]["automated"]["selfHeal"]
    for name in ("trainingjob", "quantizationjob"):
        example = yaml.safe_load((REPOSITORY / "manifests" / "examples" / f"{name}.yaml").read_text())
        assert "ttlSecondsAfterFinished" not in example["spec"].get("runPolicy", {})
