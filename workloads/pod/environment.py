"""Place of this process among those of the job, and its number of threads. Read once at the start of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

from workloads.errors import BadInput


@dataclass(frozen=True)
class Place:
    """This process among all, as torchrun numbers them."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


# Who counts the processes, in the order in which they are asked: torchrun, Horovod, Open MPI, Intel MPI and MPICH.
_COUNTERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)


def read_place(environment: Mapping[str, str]) -> Place:
    """Place by the launcher's variables; one process alone when none are set. BadInput when they are not consistent."""
    names = next((names for names in _COUNTERS if names[1] in environment), None)
    if names is None:
        return Place()
    defaults = {names[2]: "0", names[3]: "1"}
    try:
        place = Place(*(int(environment[name] if name in environment else defaults[name]) for name in names))
    except (KeyError, ValueError) as error:
        words = f"the launcher's variables {names[0]} and {names[1]} are incomplete or no numbers: {error}"
        raise BadInput(words) from error
    if not (0 <= place.rank < place.size and 0 <= place.local_rank < place.local_size):
        raise BadInput(f"the launcher's variables contradict each other: {place}")
    return place


def threads(place: Place, environment: Mapping[str, str], cores: float) -> int:
    """Compute threads of this process: its share of the container's cores, at least one.

    More threads than cores thrash: 64 threads on a quota of one core wait for each other at every operator. An
    OMP_NUM_THREADS of one's own wins; the 1 that torchrun sets when there are several processes does not.
    """
    wanted = environment.get("OMP_NUM_THREADS", "")
    by_torchrun = wanted == "1" and place.local_size > 1 and "TORCHELASTIC_RUN_ID" in environment
    if wanted.isdigit() and int(wanted) > 0 and not by_torchrun:
        return int(wanted)
    return max(1, int(cores / place.local_size))
