"""What a kind tells the life cycle about its gang: names, size, what to create, what success means."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from slipway.api.common import FailurePolicy, RunPolicy
from slipway.job.observed import Failure
from slipway.job.plan import Keep, Plan, Write

if TYPE_CHECKING:
    from slipway.job.scene import Scene


class Gang(Protocol):
    """Pods that live and die together. Pure."""

    @property
    def final_exit_codes(self) -> frozenset[int]:
        """They mean the same at every try: no restart, unless a rule of the user's asks for one."""

    @property
    def uid(self) -> str:
        """Of the object that owns the pods."""

    @property
    def run_policy(self) -> RunPolicy:
        """The spec's."""

    @property
    def failure_policy(self) -> FailurePolicy:
        """The spec's."""

    @property
    def size(self) -> int:
        """How many pods the spec asks for now."""

    @property
    def digest(self) -> str:
        """sha256 of all that the pods are made from; editing the run and failure policies leaves it as it is."""

    def pod_name(self, index: int, attempt: int) -> str:
        """The name of one pod."""

    def writes(self, missing: Sequence[int], attempt: int, *, first: bool) -> tuple[Write, ...]:
        """The pods of these indices, and before the `first` of an attempt what they lean on."""

    def tells(self, words: str) -> bool:
        """Whether a pod's last words must be kept when it has succeeded: they say what was made, or what comes now."""

    def keeps(self, attempt: int) -> tuple[Keep, ...]:
        """What the pods of an attempt lean on while they run."""

    def succeeded(self, scene: "Scene") -> Plan:
        """All pods of the attempt have succeeded."""

    def failed(self, scene: "Scene", failure: Failure) -> Plan | None:
        """A failure that the kind itself knows what to do about; None leaves it to the failure policy."""
