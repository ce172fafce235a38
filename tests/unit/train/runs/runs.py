"""What the tests of this folder share: a small job for any strategy, run for real, and what it left."""

import contextlib
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from tests.unit.train.processes import train

UID = "6f1c4a52-6f7e-4f0a-9a53-1f2f3c4d5e6f"

# Fields of the spec that choose a strategy.
STRATEGIES: dict[str, dict[str, Any]] = {
    "single": {},
    "ddp": {},
    "fsdp2": {"strategy": {"name": "FSDP2"}},
    "zero-0": {"launcher": "deepspeed", "deepspeed": {"zeroStage": 0}},
    "zero-1": {"launcher": "deepspeed", "deepspeed": {"zeroStage": 1}},
    "zero-2": {"strategy": {"name": "ZeRO2"}},
    "zero-3": {"strategy": {"name": "ZeRO3"}},
    "zero-3-cpu": {"strategy": {"name": "ZeRO3Offload"}},
    "zero-2-cpu": {"launcher": "deepspeed", "deepspeed": {"zeroStage": 2, "offloadOptimizer": {"device": "cpu"}}},
    "horovod": {"launcher": "horovodrun"},
}


def installed(strategy: str) -> bool:
    """Whether the library that a strategy needs is here."""
    module = {"zero": "deepspeed", "horovod": "horovod"}.get(strategy.split("-", maxsplit=1)[0])
    return module is None or importlib.util.find_spec(module) is not None


def document(folder: Path, strategy: str, every: int = 5, **recipe: Any) -> dict[str, Any]:
    """A job that trains a small CNN on digits; artifact and checkpoints go below `folder`."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "namespace": "ml", "uid": UID},
        "spec": {
            "recipe": {
                "model": {"name": "cnn", "width": 4},
                "dataset": {"name": "digits", "limit": 640},
                "globalBatchSize": 64,
                "epochs": 2,
                "gradientClipping": 1.0,
                "optimizer": {"name": "adamw", "learningRate": 0.01, "weightDecay": 0.1},
                **recipe,
            },
            "output": {"uri": (folder / "model").as_uri()},
            "checkpoint": {"uri": (folder / "checkpoints").as_uri(), "everySteps": every},
            **STRATEGIES[strategy],
        },
    }


def write(folder: Path, strategy: str, **recipe: Any) -> Path:
    """The job as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(json.dumps(document(folder, strategy, **recipe)))
    return path


def run(folder: Path, strategy: str, count: int, *options: str, **recipe: Any) -> str:
    """Train to the end. Returns what the first process printed."""
    config = write(folder, strategy, **recipe)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(rendezvous(count)) if strategy == "horovod" else None
        running = stack.enter_context(train(config, count, folder / "logs", *options, place=place))
        for one in running:
            assert one.wait() == 0, "\n".join(each.output for each in running)
        output: str = running[0].output
        return output


@contextlib.contextmanager
def rendezvous(count: int) -> Iterator[Callable[[int, int], dict[str, str]]]:
    """What Horovod's launcher does: serves who is where, and tells each process its place."""
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    server = RendezvousHTTPServer(("127.0.0.1", 0), RendezvousHandler, 0)
    server.init(get_host_assignments(parse_hosts(f"localhost:{count}"), count))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def place(rank: int, size: int) -> dict[str, str]:
        numbers = {"RANK": rank, "SIZE": size, "LOCAL_RANK": rank, "LOCAL_SIZE": size, "CROSS_RANK": 0, "CROSS_SIZE": 1}
        meeting = {"GLOO_RENDEZVOUS_ADDR": "127.0.0.1", "GLOO_RENDEZVOUS_PORT": server.server_address[1]}
        words = {"HOSTNAME": "localhost", "CONTROLLER": "gloo", "CPU_OPERATIONS": "gloo", "GLOO_IFACE": "lo"}
        return {f"HOROVOD_{name}": str(value) for name, value in {**numbers, **meeting, **words}.items()}

    yield place
    server.shutdown()


def history(folder: Path) -> list[dict[str, Any]]:
    """One row per epoch."""
    return [json.loads(line) for line in (folder / "model/metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> Any:
    """The published parameters."""
    return load_file(folder / "model/model.safetensors")


def checkpoints(folder: Path) -> list[Path]:
    """From the oldest to the newest."""
    return sorted((folder / "checkpoints/digits-6f1c4a52").glob("step-*"))
