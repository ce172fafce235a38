"""torchrun: static ranks, or an elastic rendezvous (c10d). Settings go by torchrun's PET_* variables.

Elastic (torch 2.13): the store is a process of its own beside node 0's agent, and no agent hosts it (`is_host=0`), so
that an agent may go without taking it along; and agents must not hand their store's address to each other
(TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1), or one that joins later waits for the address of a round that is over.
"""

from slipway.api.training.elastic import ElasticPolicy
from slipway.api.training.processes import batch_problems, processes_per_node, world_size
from slipway.reconcile.podspec import CONFIG_DIR
from slipway.trainingjob import payload
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers.base import Place, meeting_point

# How soon a node that is gone is missed (3 keep-alives, one every 5 s), and how long a late one is waited for.
RENDEZVOUS = "is_host=0,join_timeout=600,last_call_timeout=10,keep_alive_interval=5,keep_alive_max_attempt=3"


class Torchrun:
    """torchrun with `--no-python PROGRAM`; where the program is torchrun itself, with the arguments that it names."""

    def problems(self, job: TrainingJob) -> list[str]:
        """Problems: the batch must divide by the processes, at every size that the job may have."""
        return batch_problems(job.spec, processes_per_node(job.spec))

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """Start `program` in every process of the node; node 0 of an elastic job also keeps the store."""
        started = agent(job, program)
        if not _several(job) or place.index != 0:
            return started
        return ["python3", f"{CONFIG_DIR}/{payload.STORE}", str(job.master_port), *started]

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """PET_* for torchrun; MASTER_ADDR, WORLD_SIZE and RANK (of the node) for scripts that read only those."""
        elastic = job.spec.elastic_policy
        if elastic is None:
            return static_env(job, place)
        # The processes' own MASTER_ADDR, WORLD_SIZE and RANK are torchrun's to say: they change.
        shared = {
            "PET_NPROC_PER_NODE": str(processes_per_node(job.spec)),
            "PET_MAX_RESTARTS": str(elastic.max_restarts),
        }
        return shared | (_rendezvous(job, place, elastic) if elastic.max_nodes > 1 else {"PET_STANDALONE": "1"})

    def files(self, job: TrainingJob) -> dict[str, str]:
        """The agent's program, and the store's."""
        names = [payload.STORE] if _several(job) else []
        return agent_files(job) | {name: payload.read(name) for name in names}

    def keyed(self, job: TrainingJob) -> bool:
        """Tell that the pods need no key: agents meet in the store."""
        return False


def agent(job: TrainingJob, program: list[str]) -> list[str]:
    """torchrun by a program of ours, which ends with the exit code of the process that failed: its own is always 1."""
    if job.spec.recipe is not None:
        return ["python", "-m", "workloads", "torchrun", "--no-python", *program]
    file = f"{CONFIG_DIR}/{payload.TORCH_AGENT}"
    if program[0].rsplit("/", 1)[-1] == "torchrun":
        return ["python3", file, *program]
    if program[1:3] == ["-m", "torch.distributed.run"]:
        return [program[0], file, "-", *program[3:]]
    return ["python3", file, "torchrun", "--no-python", *program]


def agent_files(job: TrainingJob) -> dict[str, str]:
    """The agent's program, for an image of the user's; a recipe's has it."""
    return {} if job.spec.recipe is not None else {payload.TORCH_AGENT: payload.read(payload.TORCH_AGENT)}


def static_env(job: TrainingJob, place: Place) -> dict[str, str]:
    """Ranks by the place; restarts are the gang's and counted in the status: an agent's own would hide them."""
    port, address = str(job.master_port), meeting_point(job)
    return {
        "PET_NNODES": str(job.spec.num_nodes),
        "PET_NPROC_PER_NODE": str(processes_per_node(job.spec)),
        "PET_NODE_RANK": str(place.index),
        "PET_MASTER_ADDR": address,
        "PET_MASTER_PORT": port,
        "PET_MAX_RESTARTS": "0",
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(world_size(job.spec)),
        "RANK": str(place.index),
    }


def _several(job: TrainingJob) -> bool:
    return job.spec.elastic_policy is not None and job.spec.elastic_policy.max_nodes > 1


def _rendezvous(job: TrainingJob, place: Place, elastic: ElasticPolicy) -> dict[str, str]:
    # Node 0 reaches its own store without waiting for the name service.
    address = "127.0.0.1" if place.index == 0 else job.master_address
    return {
        "PET_NNODES": f"{elastic.min_nodes}:{elastic.max_nodes}",
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"{address}:{job.master_port}",
        # A zombie of an earlier attempt, or of a deleted job of this name, must not join.
        "PET_RDZV_ID": f"{job.uid}-{place.attempt}",
        "PET_RDZV_CONF": RENDEZVOUS,
        # What the peers are told to connect to: the pod's own address, since a late node's name may not resolve yet.
        "PET_LOCAL_ADDR": "$(SLIPWAY_POD_IP)",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
