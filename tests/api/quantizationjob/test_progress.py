"""What pods post reaches status.progress: real tokens and TLS, the operator's own endpoint, the workload's own client.

Only the kubelet's part is played here: it would mount the ConfigMap with the authority, and the projected token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pytest

from slipway.api.quantization.ladder import Rung
from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from slipway.api.quantization.status import Stage
from tests.api.operators import Operator
from tests.api.quantizationjob.acts import SHORT, Place, ending, play
from tests.api.quantizationjob.jobs import SPEC, Jobs
from tests.api.stage import PODS, Object
from tests.api.watching import watch
from tests.cluster.scripted.script import Script
from tests.ports import free_port
from workloads.pod.progress import CA_CERT, TOKEN, URL, Poster, Snapshot
from workloads.quantize.eta import Rate, WorkPlan, steps_of
from workloads.quantize.progress import ProgressReporter

pytestmark = pytest.mark.api


@dataclass
class Site:
    """A namespace whose operator listens for progress, and a folder to mount things in."""

    jobs: Jobs
    namespace: str
    folder: Path

    def mounted(self, pod_name: str) -> dict[str, str]:
        """The pod's environment, with what it names in files where a test can read them."""
        pod = self.jobs.client.get(f"{PODS.format(self.namespace)}/{pod_name}")
        (container,) = pod["spec"]["containers"]
        env = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        authority, token = Path(env[CA_CERT]), Path(env[TOKEN])
        config = volumes[mounts[str(authority.parent)]]["configMap"]["name"]
        (source,) = volumes[mounts[str(token.parent)]]["projected"]["sources"]
        wanted = source["serviceAccountToken"]
        assert wanted["path"] == token.name
        data = self.jobs.client.get(f"/api/v1/namespaces/{self.namespace}/configmaps/{config}")["data"]
        here = self.folder / pod_name
        here.mkdir()
        (here / "ca").write_text(data[authority.name])
        minted = self.jobs.stage.plane.token(self.namespace, "default", [wanted["audience"]], pod=pod)
        (here / "token").write_text(minted)
        return {URL: env[URL], CA_CERT: str(here / "ca"), TOKEN: str(here / "token")}


@pytest.fixture
def site(jobs: Jobs, namespace: str, operators: Callable[..., Operator], tmp_path: Path) -> Site:
    port = free_port()
    settings = {
        "SLIPWAY_STATUS_URL": f"https://127.0.0.1:{port}",
        "SLIPWAY_STATUS_PORT": str(port),
        "SLIPWAY_STATUS_CERT_DIR": str(tmp_path / "none"),
        "SLIPWAY_STATUS_MADE_DIR": str(tmp_path / "made"),
    }
    operators(namespace, **settings).ready()
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    watch(jobs.client, accounts, lambda all_: "default" in all_)
    return Site(jobs, namespace, tmp_path)


def voice_of(environment: dict[str, str]) -> ProgressReporter:
    """As `python -m workloads quantize` makes it."""
    reporter = ProgressReporter(Poster(environment))
    reporter.plan(WorkPlan(steps_of(QuantizationJobSpec.model_validate(SPEC)), Rate(20.0, 10.0)))
    return reporter


def test_a_quantization_pods_progress_is_shown_and_rises_from_stage_to_stage(site: Site, name: str) -> None:
    jobs, namespace = site.jobs, site.namespace
    held = {Stage.BASELINE, Stage.QUANTIZE}
    jobs.create(namespace, name, play(hold=lambda place: place.stage in held))
    jobs.until_stage(namespace, name, "baseline")
    first = voice_of(site.mounted(f"{name}-1-0-a1"))
    first.begin(Stage.BASELINE)
    first.figures({"float_accuracy": 0.9812})
    first.stage_done()
    first.close()
    shown = jobs.until(namespace, name, lambda s: "progress" in s and s["progress"].get("metrics"))["progress"]
    assert shown["metrics"] == [{"name": "float_accuracy", "value": "0.9812"}]
    assert 0 < shown["percent"] < 50
    assert shown["estimatedRemainingSeconds"] > 20
    assert shown["lastUpdatedTime"]
    assert not {"step", "totalSteps"} & set(shown), "those are a training's"
    jobs.stage.finish(namespace, f"{name}-1-0-a1", ending(SHORT, Place(1, 0, 1, Stage.BASELINE)))
    kept = jobs.until_stage(namespace, name, "quantize")["progress"]
    assert kept == shown, "until the next stage's pods say more"
    second = voice_of(site.mounted(f"{name}-3-0-a3"))
    second.climb(Rung.STATIC_PER_CHANNEL)
    second.close()
    higher = jobs.until(namespace, name, lambda s: s["progress"]["percent"] > shown["percent"])["progress"]
    held.clear()
    jobs.stage.finish(namespace, f"{name}-3-0-a3", ending(SHORT, Place(3, 0, 3, Stage.QUANTIZE)))
    done = jobs.until_condition(namespace, name, "Succeeded")["progress"]
    assert (done["percent"], done["estimatedRemainingSeconds"]) == (100, 0)
    assert higher["percent"] < 100


def post(environment: dict[str, str], url: str) -> None:
    """One post, whose refusal is raised and not only complained of."""
    poster = Poster({})
    poster._url, poster._ca, poster._token = url, environment[CA_CERT], environment[TOKEN]
    poster._post({"trainerStatus": {"progressPercentage": 50, "lastUpdatedTime": "2026-01-01T00:00:00Z"}})


def test_one_endpoint_for_both_kinds_and_a_pod_speaks_for_its_own_job_only(site: Site, name: str) -> None:
    """A TrainingJob and a QuantizationJob may have the same name: neither's pods speak for the other."""
    jobs, namespace = site.jobs, site.namespace

    def endless(pod: Object) -> Script:
        return Script(runs_for=None)

    jobs.create(namespace, name, endless)
    jobs.stage.create(namespace, name)
    jobs.until_stage(namespace, name, "export")
    jobs.stage.until_running(namespace, name)
    quantizer, trainer = site.mounted(f"{name}-0-0-a0"), site.mounted(f"{name}-node-0-a0")
    assert quantizer[URL] == trainer[URL].replace("trainingjobs", "quantizationjobs")
    for token, url in ((quantizer, trainer[URL]), (trainer, quantizer[URL])):
        with pytest.raises(HTTPError) as refused:
            post(token, url)
        assert refused.value.code == 403
    with pytest.raises(HTTPError) as missing:
        post(quantizer, quantizer[URL].replace(f"/{name}/", "/other/"))
    assert missing.value.code == 404
    said = Poster(trainer)
    said.update(Snapshot(3, 10, 7, {"loss": 0.5}))
    said.close()
    post(quantizer, quantizer[URL])
    trained = jobs.stage.until_job(namespace, name, lambda s: s.get("progress"))["status"]["progress"]
    assert (trained["percent"], trained["step"], trained["totalSteps"]) == (30, 3, 10)
    assert jobs.until(namespace, name, lambda s: s.get("progress"))["progress"]["percent"] == 50
