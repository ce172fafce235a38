"""Rule of scale to zero: when the last replica may go, and when one must come back. Pure; asked by autoscale.py.

A service sleeps in three looks: that nobody asks is written down; the activator takes the pods' place in the Service;
and only when all of its pods say that nobody has come since, the last replica goes. Any of them can end it.
"""

import math
from dataclasses import dataclass

from slipway.api.serving.autoscaling import AutoScaling
from slipway.inferenceservice.policy.scale import STEP, Load, clamp, wanted

# For the Service's new endpoints to reach every node before the pods leave.
HANDOVER_SECONDS = 3


@dataclass(frozen=True)
class ActivatorState:
    """State of the activator, which stands in for the pods while there are none.

    `ready`: it would hold requests. `in_place`: the Service leads to it. `quiet`: all of its pods say that nobody has
    come since sleep was decided; `wanted`: one says that somebody has; before they are asked it is neither. `held`:
    clients that wait. `deaf`: one cannot be asked. `emptied`: the last replica has gone. `unsettled`: a revision is
    rolling out, or was rolled back; why, in words.
    """

    ready: bool = False
    in_place: bool = False
    quiet: bool = False
    wanted: bool = False
    held: int = 0
    deaf: bool = False
    emptied: bool = False
    unsettled: str = ""

    @property
    def trouble(self) -> str:
        """Reason for a replica to serve, whoever asks for it; empty when none has to."""
        if not self.ready:
            return "the activator is not ready"
        return self.unsettled or ("the activator cannot be asked" if self.deaf else "")


def idle(load: Load) -> bool:
    """Tell whether all replicas serve, could be asked, and had no request, neither in the last interval nor now."""
    return bool(load.pods) and not load.unknown and not any(load.pods) and not load.inside


def asked_for(scaling: AutoScaling, current: int, load: Load, activator_state: ActivatorState) -> int:
    """Replicas that this look asks for: as the load does, and of a service that may sleep also none, or one again."""
    if not scaling.to_zero:
        return wanted(scaling, current, load)
    if current == 0:
        return _woken(scaling, load, activator_state)
    if idle(load) and not activator_state.trouble:
        return 0
    return max(1, wanted(scaling, current, load))


def _woken(scaling: AutoScaling, load: Load, activator_state: ActivatorState) -> int:
    """Replicas of a service that has none: enough for those who wait, else none.

    One where nobody would hold a request, or a new revision has to prove itself.
    """
    if activator_state.wanted or any(load.pods) or load.inside:
        return max(1, clamp(scaling, min(math.ceil(activator_state.held / scaling.scale_target), STEP)))
    return 1 if activator_state.trouble else 0


def left(activator_state: ActivatorState, seconds: float) -> int:
    """Number of pods, `seconds` after sleep was decided: the last one goes when the activator has taken over."""
    over = activator_state.in_place and activator_state.quiet and seconds >= HANDOVER_SECONDS
    return 0 if activator_state.emptied or over else 1


def stands_in(activator_state: ActivatorState, *, may_sleep: bool, sleeping: bool, wanted: bool, serving: bool) -> bool:
    """Tell whether the Service shall lead to the activator: there is nobody else, or there will be nobody.

    `may_sleep`: the spec asks for an activator; `sleeping`: sleep is decided; `wanted`: there shall be pods; `serving`:
    one is ready.
    """
    if not activator_state.ready:
        return False
    # Who was held when the spec took the activator away is still served by it.
    return sleeping or (wanted and not serving and (may_sleep or activator_state.in_place))
