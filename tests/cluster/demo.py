"""`make demo`: from nothing to a trained model, told while it happens."""

from __future__ import annotations

import time
from typing import Any

import yaml

from tests.cluster import install
from tests.cluster.choose import choose
from tests.cluster.images import build
from tests.cluster.kubectl import Kubectl
from tests.cluster.say import say

GIVE_UP_SECONDS = 900


def main() -> int:
    """Cluster, images, operator, training: each step is quick when it was done before."""
    cluster = choose()
    cluster.up()
    images = build.build_and_load(cluster)
    kubectl = Kubectl(cluster.kubeconfig, cluster.context)
    install.install(kubectl, images)
    show(kubectl)
    say(f"look around with: kubectl --kubeconfig={cluster.kubeconfig} get trainingjobs,pods; end it with: make down")
    return 0


def show(kubectl: Kubectl) -> None:
    """Apply the example, follow its status to the end, print what it says. Raises SystemExit when it fails."""
    install.use_storage(kubectl)
    manifest = install.example("trainingjob.yaml")
    name = yaml.safe_load(manifest.read_text())["metadata"]["name"]
    if kubectl.exists("trainingjob", name):
        say(f"deleting the TrainingJob {name} of an earlier run")
        kubectl("delete", "trainingjob", name)
        install.wait_gone(kubectl, "pods", "-l", f"slipway.dev/job-name={name}")
    say(f"kubectl apply -f manifests/examples/{manifest.name}")
    kubectl("apply", "-f", str(manifest))
    job = _follow(kubectl, name)
    _tell_result(job)


def _follow(kubectl: Kubectl, name: str) -> dict[str, Any]:
    end, told = time.monotonic() + GIVE_UP_SECONDS, ""
    while time.monotonic() < end:
        job = kubectl.get("trainingjob", name)
        line = _line(job)
        if line != told:
            print(f"    {line}", flush=True)
            told = line
        if _is_true(job, "Succeeded"):
            return job
        if _is_true(job, "Failed") or _is_true(job, "Stalled"):
            raise SystemExit(f"the TrainingJob did not succeed: {_message(job, 'Ready')}")
        time.sleep(1)  # what is awaited is a person's next line to read
    raise SystemExit(f"the TrainingJob has not finished after {GIVE_UP_SECONDS} s: {told}")


def _line(job: dict[str, Any]) -> str:
    status = job.get("status") or {}
    progress = status.get("progress") or {}
    words = [_message(job, "Ready")]
    if progress.get("percent") is not None:
        figures = {metric["name"]: metric["value"] for metric in progress.get("metrics") or []}
        shown = [f"{name} {figures[name]}" for name in ("loss", "accuracy") if name in figures]
        words.append(", ".join([f"{progress['percent']} %", *shown]))
    return "; ".join(words)


def _tell_result(job: dict[str, Any]) -> None:
    status = job["status"]
    artifact = status.get("artifact")
    if not artifact:
        raise SystemExit("the TrainingJob succeeded without an artifact in its status")
    say("the trained model, as `kubectl get trainingjob -o yaml` shows it:")
    for metric in artifact.get("metrics") or []:
        print(f"    {metric['name']}: {metric['value']}")
    print(f"    artifact: {artifact['uri']}")
    print(f"    digest:   {artifact['digest']}")
    print(f"    restarts: {status.get('restartCount', 0)}")


def _is_true(job: dict[str, Any], kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in (job.get("status") or {}).get("conditions") or [])


def _message(job: dict[str, Any], kind: str) -> str:
    found = [c for c in (job.get("status") or {}).get("conditions") or [] if c["type"] == kind]
    return f"{found[0]['reason']}: {found[0]['message']}" if found else "no status yet"
