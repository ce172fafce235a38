"""`python -m tests.perf.training.train_bench`: what the trainer costs beside a bare script, and what ZeRO-3 saves
beside DDP.

Overhead and stall: two processes in which epochs of `workloads train`'s own loop and of a hand-written DDP loop of the
same model, data and optimizer take turns, so that other load on the machine meets both alike; then epochs with and
without checkpoints. Memory: GPT-2 under DDP and under ZeRO-3 with CPU offload, each in fresh processes. Results go to
tests/perf/results/train.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.paths import REPOSITORY
from tests.perf import machine

RESULT = Path(__file__).parents[1] / "results" / "train.json"
PROCESSES = 2
STEPS, BATCH, EVERY = 24, 128, 12  # an epoch's steps, samples of a step, steps between two checkpoints


def document(folder: Path, strategy: dict[str, Any], recipe: dict[str, Any], every: int) -> dict[str, Any]:
    """A TrainingJob."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "bench"},
        "spec": {
            "recipe": recipe,
            "output": {"uri": (folder / "model").as_uri()},
            "checkpoint": {"uri": (folder / "checkpoints").as_uri(), "everySteps": every},
            **strategy,
        },
    }


def pictures(samples: int) -> dict[str, Any]:
    """A CNN on pictures as large as Fashion-MNIST's."""
    arguments = {"samples": str(samples), "channels": "1", "height": "28", "width": "28"}
    return {
        "model": {"name": "cnn", "width": 32},
        "dataset": {"name": "synthetic", "arguments": arguments},
        "globalBatchSize": BATCH,
        "epochs": 1000,
        "optimizer": {"learningRate": 0.01},
    }


def bare(model: Any, pixels: Any, labels: Any) -> None:
    """One epoch of a DDP loop as anyone would write it."""
    import torch
    from torch.utils.data import DistributedSampler

    ddp, optimizer = model
    sampler = DistributedSampler(range(len(labels)), shuffle=True, seed=0, drop_last=True)  # type: ignore[arg-type, var-annotated]
    indices = torch.tensor(list(sampler))
    for chosen in indices.split(BATCH // PROCESSES):
        images = (pixels[chosen].float() / 255 - 0.5) / 0.5
        loss = torch.nn.functional.cross_entropy(ddp(images), labels[chosen])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock, and seconds of this process on a core, all its threads: others' load is not in those."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def overhead(folder: Path, turns: int) -> list[dict[str, Any]]:
    """In each of two processes: epochs of ours and of a bare loop in turns, then with checkpoints and without."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    from workloads import models
    from workloads.pod.environment import read_place
    from workloads.pod.signals import StopSignal
    from workloads.train.job import Overrides, read_job
    from workloads.train.setup import assemble

    torch.set_num_threads(1)
    config = folder / "job.json"
    job = read_job(config, Overrides())
    training = assemble(job, read_place(os.environ), StopSignal())
    torch.manual_seed(0)
    own = DistributedDataParallel(models.build(training.architecture.name, training.architecture.arguments))
    pair = (own, torch.optim.SGD(own.parameters(), lr=0.01, momentum=0.9))
    pixels, labels = (torch.from_numpy(part) for part in training.data.training.batch(range(STEPS * BATCH)))

    def ours(every: int) -> None:
        training.save_every = every
        training._epoch()

    never = 10**9
    ours(never), bare(pair, pixels, labels)
    rows = []
    for _ in range(turns):
        rows.append([timed(lambda: ours(never)), timed(lambda: bare(pair, pixels, labels))])
    with watched(training) as stalls:
        saving = [timed(lambda: ours(EVERY)) for _ in range(turns)]
    training.strategy.teardown()
    return [summary(rows, saving, stalls, training.parameters)] if training.world.first else []


@contextmanager
def watched(training: Any) -> Iterator[list[float]]:
    """Seconds that the loop waits in each of its saves."""
    found: list[float] = []
    save = training._save

    def measured(*arguments: Any) -> None:
        started = time.perf_counter()
        save(*arguments)
        found.append(time.perf_counter() - started)

    training._save = measured
    yield found
    training._save = save


Pair = tuple[float, float]


def summary(rows: list[list[Pair]], saving: list[Pair], stalls: list[float], parameters: int) -> dict[str, Any]:
    """Medians over turns of ratios within a turn; `rows` are pairs of ours and bare, each on the clock and on cores."""
    ours, theirs = zip(*rows, strict=True)
    step = statistics.median(one[0] for one in saving) / STEPS
    return {
        "what": "overhead",
        "parameters": parameters,
        "processes": PROCESSES,
        "turns": len(rows),
        "stepsPerSecond": round(STEPS / statistics.median(one[0] for one in ours), 2),
        "bareStepsPerSecond": round(STEPS / statistics.median(one[0] for one in theirs), 2),
        "ratio": round(statistics.median(b[0] / a[0] for a, b in rows), 4),
        "cpuRatio": round(statistics.median(b[1] / a[1] for a, b in rows), 4),
        "checkpointEverySteps": EVERY,
        "saves": len(stalls),
        "stallSecondsPerSave": round(statistics.median(stalls), 5),
        "stallShareOfStepTime": round(statistics.median(stalls) / (EVERY * step), 4),
        "turnsSeconds": [[round(value, 4) for pair in row for value in pair] for row in rows],
    }


def memory(folder: Path) -> list[dict[str, Any]]:
    """One whole run of the job at `folder`; the peak of the larger process, and what importing alone had taken."""
    import deepspeed  # noqa: F401 (for both alike)
    import torch
    import transformers  # noqa: F401

    from workloads.pod.signals import StopSignal
    from workloads.train import run
    from workloads.train.job import Overrides, read_job
    from workloads.train.telemetry.throughput import peak_bytes

    before = peak_bytes(torch.device("cpu"))
    run.run(read_job(folder / "job.json", Overrides()), StopSignal())
    if os.environ["RANK"] != "0":
        return []
    rows = [json.loads(line) for line in (folder / "model/metrics.jsonl").read_text().splitlines()]
    described = json.loads((folder / "model/artifact.json").read_text())
    return [
        {
            "parameters": described["parameters"],
            "peakBytes": rows[-1]["peakMemoryBytes"],
            "importedBytes": before,
            "perplexity": [round(row["perplexity"], 2) for row in rows],
            "tokensPerSecond": rows[-1]["tokensPerSecond"],
        }
    ]


def language(folder: Path, hidden: int) -> dict[str, Any]:
    """GPT-2 with four layers on text files."""
    from tests.unit.train.runs.texts import wikitext

    return {
        "model": {"name": "gpt2", "layers": 4, "hiddenSize": hidden, "heads": 8},
        "dataset": {"name": "text-files", "uri": wikitext(folder / "text").as_uri(), "sequenceLength": 64, "limit": 64},
        "globalBatchSize": 8,
        "epochs": 3,
        "optimizer": {"name": "adamw", "learningRate": 0.001},
    }


def launch(part: str, folder: Path, turns: int) -> list[dict[str, Any]]:
    """Two processes by torchrun. Returns the rows that the first wrote."""
    env = {
        **os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "DS_ACCELERATOR": "cpu",
        "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}",
    }  # fmt: skip
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}"]
    own = ["-m", "tests.perf.training.train_bench", "--part", part, "--folder", str(folder), "--turns", str(turns)]
    subprocess.run([sys.executable, *torchrun, *own], check=True, env=env, cwd=REPOSITORY)
    rows: list[dict[str, Any]] = json.loads((folder / "rows.json").read_text())
    return rows


def measure(root: Path, only: str | None, turns: int, hidden: int) -> list[dict[str, Any]]:
    """All rows, or those of one part, each with the load that it was measured under."""
    rows = []
    if only != "memory":
        folder = root / "overhead"
        folder.mkdir()
        (folder / "job.json").write_text(json.dumps(document(folder, {}, pictures(STEPS * BATCH), 10**6)))
        rows += [{**row, "load": machine.load()} for row in launch("overhead", folder, turns)]
    if only == "overhead":
        return rows
    for name in ("DDP", "ZeRO3Offload"):
        folder = root / name
        folder.mkdir()
        job = document(folder, {"strategy": {"name": name}}, language(folder, hidden), 10**6)
        (folder / "job.json").write_text(json.dumps(job))
        rows += [
            {"what": "memory", "strategy": name, **row, "load": machine.load()} for row in launch("memory", folder, 1)
        ]
    return rows


def main() -> None:
    """Everything, or one part inside a process that was launched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--only", choices=["overhead", "memory"], help="the other part's rows stay as they are")
    parser.add_argument("--part", choices=["overhead", "memory"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.part is not None:
        rows = overhead(options.folder, options.turns) if options.part == "overhead" else memory(options.folder)
        if rows:
            (options.folder / "rows.json").write_text(json.dumps(rows))
        os._exit(0)  # as the train command does
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        rows = measure(Path(folder), options.only, options.turns, options.hidden)
    about = machine.describe()
    rows = [{**row, "commit": about["commit"]} for row in rows]
    before = json.loads(RESULT.read_text())["rows"] if options.only and RESULT.exists() else []
    kept = [row for row in before if row["what"] != options.only]
    RESULT.write_text(json.dumps({"machine": about, "rows": kept + rows}, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
