"""Local run of a manifest: its documents as commands on this machine, mostly of `python -m workloads`, in order.

Called by `slipway local`. Pure but for the files that it is told to write: every document gets one of its own, with
outputs below one folder here instead of claims in a cluster.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.cli.views.lineage import source_of
from slipway.trainingjob import payload

Object = dict[str, Any]
ORDER = ("TrainingJob", "QuantizationJob", "InferenceService")


class NotLocalError(Exception):
    """Manifest that cannot run here; the text says why."""


@dataclass(frozen=True)
class Step:
    """One command, and what it is for."""

    title: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    """Variables of the document's own program."""

    def run(self) -> int:
        """Run the command to its end; returns its exit code.

        SIGTERM and SIGHUP are passed on. SIGINT does nothing here: a terminal sends it to the command, too. The command
        is waited for: it saves its state.
        """
        process = subprocess.Popen(self.argv, env={**environment(), **self.env})
        before = {
            number: signal.signal(number, lambda received, _: process.send_signal(received))
            for number in (signal.SIGTERM, signal.SIGHUP)
        }
        # A terminal sends SIGINT to both.
        before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return code if code >= 0 else 128 - code


def steps(documents: Sequence[Object], output: Path, processes: int, more: Sequence[str]) -> list[Step]:
    """The commands, sources first. `more` goes to each of them. Writes the documents below `output`."""
    if any(document.get("kind") == "SearchJob" for document in documents):
        raise NotLocalError(
            "a SearchJob makes TrainingJobs in a cluster: run one of them here, with values of your own"
        )
    ours = sorted((d for d in documents if d.get("kind") in ORDER), key=lambda d: ORDER.index(d["kind"]))
    if not ours:
        raise NotLocalError(f"the file holds no {', '.join(ORDER)}")
    ours = [_settled(document, documents) for document in ours]
    output.mkdir(parents=True, exist_ok=True)
    return [_step(document, output, processes, more) for document in ours]


def _settled(document: Object, others: Sequence[Object]) -> Object:
    """A TrainingJob as its runtime makes it, which has to be in the same file; other documents as they are."""
    given, metadata = document.get("spec") or {}, document["metadata"]
    if document["kind"] != "TrainingJob" or not given.get("runtimeRef"):
        return document
    title = f"TrainingJob {metadata['name']}"
    # The models: `slipway --help` goes without them.
    from slipway.api.training.trainingjob import spec_problems
    from slipway.trainingjob import runtime

    spec, problems = spec_problems(metadata["name"], given)
    if spec is None or spec.runtime_ref is None:
        raise NotLocalError(f"{title}: {'; '.join(problems)}")
    ref = spec.runtime_ref
    found = runtime.find(ref, metadata.get("namespace", "default"), others)
    if found is None:
        words = f"{title} goes by {ref.kind} {ref.name}, which is not in the file: put it beside the job, as "
        raise NotLocalError(f"{words}`kubectl get {ref.kind.lower()} {ref.name} --output yaml` prints it")
    copied, problems = runtime.read(ref, found)
    settled = runtime.settle(spec, copied)
    if problems or settled.problems:
        raise NotLocalError(f"{title}: {'; '.join([*problems, *settled.problems])}")
    whole = settled.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return {**document, "spec": {key: value for key, value in whole.items() if key != "runtimeRef"}}


def environment() -> dict[str, str]:
    """Environment of the commands: the packages are found as they are found here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _step(document: Object, output: Path, processes: int, more: Sequence[str]) -> Step:
    name, kind = document["metadata"]["name"], document["kind"]
    import yaml

    title, config = f"{kind} {name}", output / f"{kind.lower()}-{name}.yaml"
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    artifact = str(output / name)
    module = [sys.executable, "-m", "workloads"]
    if kind == "TrainingJob":
        if not document["spec"].get("recipe"):
            return _published(document, output, _own_program(title, document["spec"], processes, more))
        options = ["--config", str(config), "--output", artifact, "--checkpoint", f"{artifact}-checkpoints"]
        torchrun = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "workloads"]
        return Step(title, [*module, *(torchrun if processes > 1 else []), "train", *options, *more])
    model = _model(document, output)
    if kind == "QuantizationJob":
        options = ["--config", str(config), "--output", artifact, "--work", f"{artifact}-work"]
        return Step(title, [*module, "quantize", *options, *(["--model", model] if model else []), *more])
    if not model:
        raise NotLocalError(f"{title} names no model that lies here")
    return Step(title, [*module, "serve", "--model", model, "--name", name, *more])


def _own_program(title: str, spec: Object, processes: int, more: Sequence[str]) -> Step:
    """A user's own command, as its launcher would start it: once, or by torchrun."""
    trainer = spec.get("trainer") or {}
    command = [str(word) for word in (*(trainer.get("command") or []), *(trainer.get("args") or []))]
    if not command:
        raise NotLocalError(f"{title} has neither a recipe nor trainer.command: there is nothing to run")
    if command[0] in {"python", "python3"}:
        command[0] = sys.executable  # which has what this command was installed with
    launch = [
        sys.executable,
        "-m",
        "workloads",
        "torchrun",
        "--standalone",
        f"--nproc-per-node={processes}",
        "--no-python",
    ]
    known = {str(one["name"]): str(one["value"]) for one in trainer.get("env") or [] if "value" in one}
    return Step(title, [*(launch if processes > 1 else []), *command, *more], known)


def _published(document: Object, output: Path, step: Step) -> Step:
    """Step of the program by the payload that its pod would have: folders are made, and what it leaves becomes an
    artifact.
    """
    spec, name = document["spec"], document["metadata"]["name"]
    if not (spec.get("output") or spec.get("checkpoint")):
        return step
    here = (output / f".{name}").absolute()
    here.mkdir(exist_ok=True)
    for file in (payload.PUBLISH, payload.ONNX_SIGNATURE):
        (here / file).write_text(payload.read(file))
    uri = (spec.get("output") or {}).get("uri")
    known = {"name": name, **{key: document["metadata"][key] for key in ("namespace",) if key in document["metadata"]}}
    (here / payload.JOB).write_text(json.dumps({"metadata": known, "spec": {"output": {"uri": uri}}}))
    env = {"SLIPWAY_TERMINATION_LOG": str(here / "last-words")}
    target = str((output / name).absolute()) if uri else "-"
    if uri:
        # Another one each time, as each attempt of a pod has: what a killed program left is removed by the payload.
        env["SLIPWAY_OUTPUT_DIR"] = str((output / f".{name}.local-a{os.getpid()}.partial").absolute())
    if spec.get("checkpoint"):
        env["SLIPWAY_CHECKPOINT_DIR"] = f"{(output / name).absolute()}-checkpoints"
        env["SLIPWAY_CHECKPOINT_EVERY_STEPS"] = str(spec["checkpoint"].get("everySteps", 100))
        env["SLIPWAY_CHECKPOINT_KEEP_LAST"] = str(spec["checkpoint"].get("keepLast", 2))
    return Step(step.title, [sys.executable, str(here / payload.PUBLISH), target, "0", *step.argv], {**env, **step.env})


def _model(document: Object, output: Path) -> str:
    """Place of a document's model: the artifact of its source below `output`, or a service's own URI.

    Empty for a QuantizationJob without a source: it reads the URI from the document.
    """
    source = source_of(document)
    if source is not None:
        return str(output / source[1])
    spec = document["spec"]
    uri = str((spec.get("model") or (spec.get("predictor") or {}).get("model") or {}).get("uri") or "")
    return "" if document["kind"] == "QuantizationJob" else uri
