"""`make demo`: from nothing to a prediction of a served model, told while it happens."""

from __future__ import annotations

import re
import time
from typing import Any

import yaml

from tests.cluster import install
from tests.cluster.demonstration import predict
from tests.cluster.kubectl import Kubectl
from tests.cluster.say import say

GIVE_UP_SECONDS = 900
# Manifest, kind, and what its status tells at the end.
TRAIN, QUANTIZE, SERVE = "trainingjob.yaml", "quantizationjob.yaml", "inferenceservice.yaml"


def show(kubectl: Kubectl) -> None:
    """Apply the examples, follow each to its end, print what it says. Raises SystemExit when one fails."""
    install.use_storage(kubectl)
    for manifest in (SERVE, QUANTIZE, TRAIN):
        _remove(kubectl, manifest)
    # All at once, in any order: each waits for the one that it takes its model from.
    for manifest in (SERVE, QUANTIZE, TRAIN):
        say(f"kubectl apply -f manifests/examples/{manifest}")
        kubectl("apply", "-f", str(install.example(manifest)))
    _tell_training(_follow(kubectl, TRAIN, "Succeeded"))
    _tell_quantization(_follow(kubectl, QUANTIZE, "Succeeded"))
    service = _follow(kubectl, SERVE, "Ready")
    say(f"the InferenceService serves {service['status']['model']['digest']}")
    _predict(kubectl, service["metadata"]["name"])
    say("look around with: kubectl get trainingjobs,quantizationjobs,inferenceservices,pods; end it with: make down")


def _names(manifest: str) -> tuple[str, str]:
    document = yaml.safe_load(install.example(manifest).read_text())
    return document["kind"].lower(), document["metadata"]["name"]


def _remove(kubectl: Kubectl, manifest: str) -> None:
    kind, name = _names(manifest)
    if kubectl.exists(kind, name):
        say(f"deleting the {kind} {name} of an earlier run")
        kubectl("delete", kind, name)
        install.wait_gone(kubectl, "pods", "-l", f"slipway.dev/kind={_kind(manifest)},slipway.dev/job-name={name}")


def _kind(manifest: str) -> str:
    kind: str = yaml.safe_load(install.example(manifest).read_text())["kind"]
    return kind


def _follow(kubectl: Kubectl, manifest: str, wanted: str) -> dict[str, Any]:
    """Print each change of the status until the condition is true."""
    kind, name = _names(manifest)
    say(f"{kind} {name}")
    end, told = time.monotonic() + GIVE_UP_SECONDS, ""
    while time.monotonic() < end:
        found = kubectl.get(kind, name)
        line = _line(found)
        if line != told:
            print(f"    {line}", flush=True)
            told = line
        if _is_true(found, wanted):
            return found
        if _is_true(found, "Failed") or _is_true(found, "Stalled"):
            raise SystemExit(f"the {kind} {name} did not succeed: {_message(found, 'Ready')}")
        time.sleep(1)  # what is awaited is a person's next line to read
    raise SystemExit(f"the {kind} {name} has not become {wanted} in {GIVE_UP_SECONDS} s: {told}")


def _line(found: dict[str, Any]) -> str:
    status = found.get("status") or {}
    progress = status.get("progress") or {}
    words = [_message(found, "Ready")]
    if status.get("stage"):
        words.append(f"stage {status['stage']}")
    if progress.get("percent") is not None:
        figures = {metric["name"]: metric["value"] for metric in progress.get("metrics") or []}
        shown = [f"{name} {figures[name]}" for name in ("loss", "accuracy") if name in figures]
        words.append(", ".join([f"{progress['percent']} %", *shown]))
    return "; ".join(words)


def _tell_training(job: dict[str, Any]) -> None:
    _tell_artifact(job, "trained")
    print(f"    restarts: {job['status'].get('restartCount', 0)}")


def _tell_quantization(job: dict[str, Any]) -> None:
    headline = job["status"].get("headline") or {}
    _tell_artifact(job, "quantized")
    for name in ("float", "quantized", "drop", "size", "speed"):
        if headline.get(name):
            print(f"    {name}: {headline[name]}")
    if why := slower(headline.get("speed", "")):
        print(f"    {why}")


def slower(speed: str) -> str:
    """Why int8 is slower than float here, as `0.83x` tells; empty where it is not."""
    times = re.fullmatch(r"(\d+(?:\.\d+)?)x", speed)
    if times is None or float(times[1]) >= 1:
        return ""
    return (
        f"int8 is slower than float on this CPU ({speed}): a network this small spends its time on converting, and"
        " a CPU without VNNI multiplies 8-bit numbers no faster; it is published because it is smaller"
    )


def _tell_artifact(job: dict[str, Any], what: str) -> None:
    artifact = job["status"].get("artifact")
    if not artifact:
        raise SystemExit(f"the {job['kind']} succeeded without an artifact in its status")
    say(f"the {what} model, as `kubectl get {job['kind'].lower()} -o yaml` shows it:")
    for metric in artifact.get("metrics") or []:
        print(f"    {metric['name']}: {metric['value']}")
    print(f"    artifact: {artifact['uri']}")
    print(f"    digest:   {artifact['digest']}")


def _predict(kubectl: Kubectl, service: str, number: int = 7) -> None:
    picture, truth = predict.held_out_digit(number)
    say("a digit that the model was not trained on:")
    print(predict.drawn(picture))
    with predict.forwarded(kubectl, "default", service, 80) as url:
        reply = predict.ask(url, picture)
    best = reply["predictions"][0]
    print(f"    the model says {best['label']} ({best['probability']:.1%}); it is a {truth}")


def _is_true(found: dict[str, Any], kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in (found.get("status") or {}).get("conditions") or [])


def _message(found: dict[str, Any], kind: str) -> str:
    marks = [c for c in (found.get("status") or {}).get("conditions") or [] if c["type"] == kind]
    return f"{marks[0]['reason']}: {marks[0].get('message', '')}" if marks else "no status yet"
