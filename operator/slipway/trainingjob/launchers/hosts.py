"""Parts of launchers that start processes from node 0: the list of hosts, the agents' variables, the commands."""

from slipway.api.training.processes import processes_per_node
from slipway.reconcile.podspec import CONFIG_DIR
from slipway.trainingjob import payload
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers.base import Place
from slipway.trainingjob.volumes import KEY_DIR

HOSTS = "hosts"
HOSTFILE = "hostfile"
AGENT = f"{CONFIG_DIR}/{payload.GANG}"


def names(job: TrainingJob) -> list[str]:
    """The nodes' DNS names, node 0 first; the same in every attempt."""
    return [f"{job.hostname(index)}.{job.service}.{job.namespace}.svc" for index in range(job.spec.num_nodes)]


def hostfile(job: TrainingJob, separator: str) -> str:
    """A host file: each node with the number of its processes, as `mpirun` or `deepspeed` writes it."""
    return "".join(f"{name}{separator}{processes_per_node(job.spec)}\n" for name in names(job))


def agent_port(job: TrainingJob) -> int:
    """Port of the agents, beside the one that the processes meet at."""
    port = job.master_port
    return port + 1 if port < 65535 else port - 1


def lines(job: TrainingJob) -> str:
    """Text of the host list, one name a line."""
    return "".join(f"{name}\n" for name in names(job))


def files(job: TrainingJob) -> dict[str, str]:
    """The agent, what stands in for ssh, and all hosts one per line."""
    return {HOSTS: lines(job), payload.GANG: payload.read(payload.GANG), payload.SSH: payload.read(payload.SSH)}


def env(job: TrainingJob) -> dict[str, str]:
    """Variables of the agent."""
    return {
        "SLIPWAY_GANG_PORT": str(agent_port(job)),
        "SLIPWAY_GANG_KEY": f"{KEY_DIR}/key",
        "SLIPWAY_GANG_HOSTS": f"{CONFIG_DIR}/{HOSTS}",
        "SLIPWAY_GANG_SLOTS": str(processes_per_node(job.spec)),
    }


def led(place: Place, command: list[str]) -> list[str]:
    """Command of a node by its agent: node 0 runs `command`, the others obey."""
    return ["python3", AGENT, "lead", *command] if place.index == 0 else ["python3", AGENT, "serve"]
