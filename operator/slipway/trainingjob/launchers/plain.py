"""No launcher: one process per pod, which finds its place in WORLD_SIZE and RANK."""

from slipway.api.training.processes import batch_problems
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers.base import Place, Simple, meeting_point


class Plain(Simple):
    """The program as it is."""

    def problems(self, job: TrainingJob) -> list[str]:
        """Problems: the batch must divide by the nodes, for there is one process on each."""
        return batch_problems(job.spec, 1)

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """Start `program` once."""
        return program

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """Variables of torch.distributed's env://, with one process per node; no PET_*."""
        return {
            "MASTER_ADDR": meeting_point(job),
            "MASTER_PORT": str(job.master_port),
            "WORLD_SIZE": str(job.spec.num_nodes),
            "RANK": str(place.index),
            "LOCAL_RANK": "0",
        }
