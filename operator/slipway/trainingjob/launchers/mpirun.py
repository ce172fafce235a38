"""mpirun on node 0, in the dialect of Open MPI, Intel MPI or MPICH; the other nodes run an agent instead of sshd.

Sources: Open MPI 4.1's mpirun(1) (`slots=`, plm_rsh_agent), MPICH's Hydra guide (`host:n`, HYDRA_LAUNCHER_EXEC), Intel
MPI's reference (I_MPI_HYDRA_BOOTSTRAP_EXEC).
"""

from slipway.api.training.launchers import Mpi, MpiImplementation
from slipway.api.training.processes import batch_problems, processes_per_node, world_size
from slipway.reconcile.podspec import CONFIG_DIR
from slipway.trainingjob import payload
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers import hosts
from slipway.trainingjob.launchers.base import Place

SSH = f"{CONFIG_DIR}/{payload.SSH}"
HOSTFILE = f"{CONFIG_DIR}/{hosts.HOSTFILE}"


class Mpirun:
    """`mpirun -n WORLD PROGRAM`; an image that calls mpirun itself finds hosts and agent in its environment."""

    def problems(self, job: TrainingJob) -> list[str]:
        """Problems: the batch must divide by the processes."""
        return batch_problems(job.spec, processes_per_node(job.spec))

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """Command of a node: node 0 starts all processes, the others obey."""
        if program[0].rsplit("/", 1)[-1] in {"mpirun", "mpiexec"}:
            return hosts.led(place, program)
        return hosts.led(place, ["mpirun", "-n", str(world_size(job.spec)), *program])

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """Variables of mpirun's hosts and of what reaches them; MASTER_ADDR and MASTER_PORT for torch's rendezvous."""
        meeting = {"MASTER_ADDR": hosts.names(job)[0], "MASTER_PORT": str(job.master_port)}
        return meeting | _dialect(job) | hosts.env(job)

    def files(self, job: TrainingJob) -> dict[str, str]:
        """The host file in the dialect."""
        separator = " slots=" if _implementation(job) is MpiImplementation.OPEN_MPI else ":"
        return {hosts.HOSTFILE: hosts.hostfile(job, separator), **hosts.files(job)}

    def keyed(self, job: TrainingJob) -> bool:
        """Tell that the pods need a key: node 0 starts processes on the others."""
        return True


def _implementation(job: TrainingJob) -> MpiImplementation:
    return (job.spec.mpi or Mpi()).implementation


def _dialect(job: TrainingJob) -> dict[str, str]:
    slots = str(processes_per_node(job.spec))
    match _implementation(job):
        case MpiImplementation.OPEN_MPI:
            return {
                "OMPI_MCA_orte_default_hostfile": HOSTFILE,
                "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
                "OMPI_MCA_plm_rsh_agent": SSH,
                # From node 0 to each node: a tree of daemons would need agents that call each other in turn.
                "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
            }
        case MpiImplementation.INTEL:
            return {
                "I_MPI_HYDRA_HOST_FILE": HOSTFILE,
                "I_MPI_PERHOST": slots,
                "I_MPI_HYDRA_BOOTSTRAP": "ssh",
                "I_MPI_HYDRA_BOOTSTRAP_EXEC": SSH,
            }
        case MpiImplementation.MPICH:
            return {"HYDRA_HOST_FILE": HOSTFILE, "HYDRA_LAUNCHER": "ssh", "HYDRA_LAUNCHER_EXEC": SSH}
