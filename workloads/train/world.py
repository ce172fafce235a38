"""Communication between the processes of a job.

The few collective operations that the trainer needs, the same for one process and many.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore, Store

from workloads.errors import BadInput, Corrupt, Unavailable
from workloads.pod.environment import Place

T = TypeVar("T")

# Longer than one process may need alone (reading data, hashing), shorter than somebody waits for a job that hangs.
TIMEOUT = timedelta(minutes=10)


class Agreement:
    """A question whose answer is still under way."""

    def __init__(self, votes: torch.Tensor, pending: "dist.Work | None") -> None:
        self._votes = votes
        self._pending = pending

    def result(self) -> bool:
        """True when any process said yes; the same on all."""
        if self._pending is not None:
            self._pending.wait()
        return bool(self._votes.item() > 0)


class World:
    """All processes of the job, or this one alone.

    Collective: each method is called by all of them in the same order.
    """

    def __init__(self, place: Place, *, store: Store | None = None, grouped: bool = False, together: int = 1) -> None:
        """`store`: where the processes meet, MASTER_ADDR when None. `grouped`: make a group even of one process.

        `together`: so many neighbours hold one model between them, and work on the same samples.
        """
        self.rank, self.size, self.local_rank = place.rank, place.size, place.local_rank
        if self.size % together:
            raise BadInput(f"{self.size} processes do not divide into groups of {together} that hold one model each")
        self.together = together
        cuda = torch.cuda.is_available()
        if cuda and place.local_size > torch.cuda.device_count():
            raise BadInput(
                f"{place.local_size} processes on this node but {torch.cuda.device_count()} GPUs: lower numProcPerNode"
            )
        self.device = torch.device("cuda", place.local_rank) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        if self.size > 1 or grouped:
            # gloo carries what is decided on the CPU even where nccl carries the gradients.
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                rank=self.rank,
                world_size=self.size,
                timeout=TIMEOUT,
                store=HashStore() if self.size == 1 else store,
            )

    @property
    def first(self) -> bool:
        """True for the process that speaks, writes and decides for all."""
        return self.rank == 0

    @property
    def shares(self) -> int:
        """Number of parts into which a batch is divided."""
        return self.size // self.together

    @property
    def share(self) -> int:
        """Index of this process's part of a batch."""
        return self.rank // self.together

    def seed(self, seed: int) -> None:
        """Seed the CPU and this device alone.

        torch.manual_seed asks every kind of device, which takes longer than a small step.
        """
        torch.default_generator.manual_seed(seed % 2**63)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed % 2**63)

    def any(self, flag: bool) -> Agreement:
        """Ask whether any process says yes. Returns at once; the answer travels while other work is done."""
        votes = torch.tensor([float(flag)])
        pending = dist.all_reduce(votes, async_op=True) if self.size > 1 else None
        return Agreement(votes, pending)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, element by element, in float64."""
        total = torch.tensor(list(values), dtype=torch.float64)
        if self.size > 1:
            dist.all_reduce(total)
        return [float(value) for value in total]

    def count(self, values: Sequence[float]) -> list[float]:
        """Sums over all samples: of processes that have worked on the same ones, the first is asked."""
        return self.sum([0.0] * len(values) if self.rank % self.together else values)

    def largest(self, value: float) -> float:
        """The largest over all processes."""
        votes = torch.tensor([value], dtype=torch.float64)
        if self.size > 1:
            dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return float(votes)

    def decide(self, question: Callable[[], T]) -> T:
        """Let the first process answer for all. Every process raises BadInput, Corrupt or Unavailable that it meets."""
        answer: list[Any] = [None, None]
        if self.first:
            try:
                answer[0] = question()
            except (BadInput, Corrupt, Unavailable) as error:
                answer[1] = error
        if self.size > 1:
            dist.broadcast_object_list(answer, src=0)
        if answer[1] is not None:
            raise answer[1]
        result: T = answer[0]
        return result

    def union(self, names: set[str]) -> set[str]:
        """Union of the names of all processes."""
        found: list[Any] = [names] * self.size
        if self.size > 1:
            dist.all_gather_object(found, names)
        return set().union(*found)

    def new_group(self) -> "dist.ProcessGroup | None":
        """A second set of connections, for a thread that talks while the main thread computes."""
        return dist.new_group(backend="gloo", timeout=TIMEOUT) if self.size > 1 else None

    def barrier(self) -> None:
        """Wait until all are here."""
        self.sum([0.0])

    def close(self) -> None:
        """Leave in good order: a process that goes while others still talk to it would fail them.

        The process group is left as it is: the process ends right after (see command.py on destructors).
        """
        self.barrier()
