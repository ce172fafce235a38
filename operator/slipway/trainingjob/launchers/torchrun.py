"""torchrun with static ranks: node 0's stable DNS name is the master, settings go by torchrun's PET_* variables."""

from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.processes import batch_problems, processes_per_node, world_size


class Torchrun:
    """`torchrun --no-python PROGRAM`; an image that calls torchrun itself is left to do so."""

    def problems(self, job: TrainingJob) -> list[str]:
        """The batch must divide by the processes."""
        return batch_problems(job.spec, world_size(job.spec))

    def command(self, job: TrainingJob, program: list[str]) -> list[str]:
        """Start `program` in every process of the node."""
        if program[0].rsplit("/", 1)[-1] == "torchrun" or program[1:3] == ["-m", "torch.distributed.run"]:
            return program
        if job.spec.recipe is not None:
            # torchrun that ends with the exit code of the process that failed: torchrun's own is always 1.
            return ["python", "-m", "workloads", "torchrun", "--no-python", *program]
        return ["torchrun", "--no-python", *program]

    def env(self, job: TrainingJob, index: int) -> dict[str, str]:
        """PET_* for torchrun; MASTER_ADDR, WORLD_SIZE and RANK (of the node) for scripts that read only those."""
        port = str(job.spec.torch.master_port)
        # The agents of a lone node need no name service: torchrun's own rendezvous on the loopback is enough.
        address = job.master_address if job.spec.num_nodes > 1 else "127.0.0.1"
        return {
            "PET_NNODES": str(job.spec.num_nodes),
            "PET_NPROC_PER_NODE": str(processes_per_node(job.spec)),
            "PET_NODE_RANK": str(index),
            "PET_MASTER_ADDR": address,
            "PET_MASTER_PORT": port,
            # Restarts are the gang's and counted in the status; an agent that restarted its own ranks would hide them.
            "PET_MAX_RESTARTS": "0",
            "MASTER_ADDR": address,
            "MASTER_PORT": port,
            "WORLD_SIZE": str(world_size(job.spec)),
            "RANK": str(index),
        }
