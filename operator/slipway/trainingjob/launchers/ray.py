"""Ray: node 0 starts the head and runs the program, the others join; one token for all, which is the gang's key.

Sources: Ray 2.60's `ray start --help`, and its documents on token authentication (RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH).
"""

import math

from slipway.api.common.quantity import parse_quantity
from slipway.api.training.elastic import ElasticPolicy
from slipway.api.training.processes import accelerators
from slipway.reconcile.podspec import CONFIG_DIR, SCRATCH_DIR
from slipway.trainingjob import payload
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers import hosts
from slipway.trainingjob.launchers.base import Place
from slipway.trainingjob.volumes import KEY_DIR

NODE = f"{CONFIG_DIR}/{payload.RAY}"
# Ray's own are 30 s and 60 s: on a busy node, or where an image's files come from afar, agents and workers take longer.
AGENT_MILLISECONDS, WORKER_SECONDS = "600000", "600"


class Ray:
    """The program on node 0, as the driver of a Ray cluster of all nodes."""

    def problems(self, job: TrainingJob) -> list[str]:
        """No problems beyond those of the schema."""
        return []

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """Command of a node: node 0 starts Ray on all of them, the others obey."""
        return hosts.led(place, ["python3", NODE, "lead", *program])

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """Variables of the agents and of Ray: the token, what the node has, no report of its use, time to start."""
        elastic = job.spec.elastic_policy
        return hosts.env(job) | (_elastic(job, elastic) if elastic else {}) | _settings() | _resources(job) | _home(job)

    def files(self, job: TrainingJob) -> dict[str, str]:
        """The agent, and the program that starts Ray by it."""
        return {**hosts.files(job), payload.RAY: payload.read(payload.RAY)}

    def keyed(self, job: TrainingJob) -> bool:
        """Tell that the pods need a key: it is Ray's token, and what the agents obey."""
        return True


def _settings() -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": f"{KEY_DIR}/key",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_agent_register_timeout_ms": AGENT_MILLISECONDS,
        "RAY_worker_register_timeout_seconds": WORKER_SECONDS,
    }


def _resources(job: TrainingJob) -> dict[str, str]:
    """Resources that Ray hands out: those of the pod's limits, whatever else the node has."""
    cpus = job.spec.trainer.resources_per_node.asked.get("cpu")
    found = {"SLIPWAY_RAY_GPUS": str(accelerators(job.spec))}
    return found if cpus is None else found | {"SLIPWAY_RAY_CPUS": str(max(1, math.floor(parse_quantity(cpus))))}


def _home(job: TrainingJob) -> dict[str, str]:
    """A home that can be written, for ~/ray_results."""
    return {"HOME": SCRATCH_DIR} if job.spec.pod.read_only_root_filesystem else {}


def _elastic(job: TrainingJob, elastic: ElasticPolicy) -> dict[str, str]:
    service = f"{job.service}.{job.namespace}.svc"
    return {"SLIPWAY_GANG_SERVICE": service, "SLIPWAY_GANG_LEAST": str(elastic.min_nodes)}
