"""All figures of one `bench`: every model on every engine, for every number of threads and every batch size.

All contenders of a number of threads and a batch size take turns in one series of rounds: ratios are of one run.
"""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from workloads.bench import energy, flops
from workloads.bench.models_under_test import AbsentEngine, ModelUnderTest, Source, find, open_all
from workloads.errors import BadInput
from workloads.measure import rss, timing
from workloads.measure.confidence import median_interval
from workloads.pod.cpus import cpu_limit
from workloads.serve.engines.engine import Options
from workloads.serve.engines.warmup import sample

CONFIDENCE = 0.95
ENERGY_SECONDS = 1.0  # RAPL moves every millisecond, NVML every 20 to 100
NO_ENERGY = "not reported by this machine"


@dataclass(frozen=True)
class BenchOptions:
    """Options of one benchmark. No engines: all that can take the model."""

    models: tuple[str, ...]
    engines: tuple[str, ...]
    threads: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    rounds: int
    warmup: int


def run(choice: BenchOptions) -> dict[str, Any]:
    """Run the benchmark; returns all figures, for JSON.

    BadInput when an engine that was named, or all of them, cannot take a model.
    """
    sources = [find(where) for where in choice.models]
    counters = energy.counters()
    rows: list[dict[str, Any]] = []
    absent: list[AbsentEngine] = []
    load = os.getloadavg()[0]
    for threads in choice.threads:
        subjects, absent = _open(sources, choice, threads)
        for batch in choice.batch_sizes:
            rows += _series(subjects, choice, threads, batch, counters)
        for subject in subjects:
            subject.engine.close()
    return {
        "machine": {**_machine(), "loadAtStart": round(load, 2), "loadAtEnd": round(os.getloadavg()[0], 2)},
        "rounds": choice.rounds,
        "warmup": choice.warmup,
        "energy": [counter.name for counter in counters] or NO_ENERGY,
        "models": [_about(source) for source in sources],
        "rows": rows,
        "notMeasured": [one.wire() for one in absent],
    }


def _open(
    sources: Sequence[Source], choice: BenchOptions, threads: int
) -> tuple[list[ModelUnderTest], list[AbsentEngine]]:
    options = Options(threads=threads, sizes=choice.batch_sizes)
    subjects, absent = [], []
    for source in sources:
        found, failed = open_all(source, choice.engines, options)
        if not found or (choice.engines and failed):
            reasons = "; ".join(f"{one.engine}: {one.reason}" for one in failed)
            raise BadInput(f"{source.where}: {reasons}")
        subjects += found
        absent += failed
    return subjects, absent


def _series(
    subjects: Sequence[ModelUnderTest],
    choice: BenchOptions,
    threads: int,
    batch: int,
    counters: list[energy.EnergyCounter],
) -> list[dict[str, Any]]:
    """One row per contender; its ratio is the first one's time over its own, per sample."""
    calls, samples = [], []
    for subject in subjects:
        signature = subject.source.model.signature
        inputs = sample(signature, batch)
        calls.append(partial(subject.engine.run, inputs))
        samples.append(batch if signature.batched else _fixed(inputs))
    seconds = timing.in_turns(calls, rounds=choice.rounds, warmup=choice.warmup)
    rows = []
    for index, (subject, own) in enumerate(zip(subjects, samples, strict=True)):
        ratio = median_interval((seconds[0] / samples[0]) / (seconds[index] / own), CONFIDENCE)
        found = timing.figures(seconds[index], own)
        where, engine = subject.source.where, subject.engine.name
        rows.append(
            {
                "model": where,
                "engine": engine,
                "details": dict(subject.engine.details),
                "threads": threads,
                "batchSize": own,
                **found,
                "restless": timing.restless(found),
                "timesAsFastAsFirst": dict(zip(("median", "low", "high"), (round(v, 4) for v in ratio), strict=True)),
                "memoryBytes": rss.in_fresh_process("workloads.bench.memory", where, engine, str(threads), str(own)),
                "fileBytes": flops.file_bytes(subject.source.file(engine)),
                "joulesPerSample": _joules(counters, calls[index], own) if counters else None,
            }
        )
    return rows


def _fixed(inputs: Sequence[Any]) -> int:
    """Samples of a call of a model whose batch is burnt in: its first axis."""
    return int(inputs[0].shape[0]) if inputs[0].ndim else 1


def _joules(counters: list[energy.EnergyCounter], call: Any, samples: int) -> dict[str, float]:
    """Joules per sample by counter, over a second of this contender alone.

    The counters cannot tell processes apart.
    """
    done = 0

    def work() -> None:
        nonlocal done
        until = time.perf_counter() + ENERGY_SECONDS
        while time.perf_counter() < until:
            call()
            done += samples

    used = energy.measure(counters, work)
    return {name: round(joules / done, 6) for name, joules in used.items()}


def _about(source: Source) -> dict[str, Any]:
    described = source.model.artifact
    return {
        "model": source.where,
        "digest": source.model.digest,
        "task": described.task.value if described is not None else None,
        "parameters": flops.parameters(source),
        "flops": flops.flops(source),
        "metrics": described.metrics if described is not None else {},
    }


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {"cpu": name or platform.processor(), "cores": round(cpu_limit(), 2), "python": platform.python_version()}
