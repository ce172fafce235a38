"""A rule of the life cycle that declines leaves the draft as it was; `queued` took status.queue away and declined."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gang import lifecycle
from slipway.gang.state import GangState, Hold, Rules
from slipway.reconcile.pods.observed import observe_pod
from slipway.reconcile.status import StatusDraft
from slipway.runtime.conditions import format_time
from slipway.trainingjob.gang import TrainingGang
from tests.unit.reconcile import pods
from tests.unit.trainingjob.rendered import PLATFORM, job_of

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
TIMES = st.sampled_from([format_time(NOW - timedelta(seconds=s)) for s in (1, 30, 600, 90_000)])
PHASES = st.sampled_from(
    [
        {"phase": "Pending"},
        {"phase": "Running"},
        pods.waiting("ImagePullBackOff", "no such image"),
        pods.ended(0),
        pods.ended(1),
        pods.ended(137, "OOMKilled"),
    ]
)
STATUS = st.fixed_dictionaries(
    {},
    optional={
        "attempt": st.integers(0, 2),
        "attemptTime": TIMES,
        "startTime": TIMES,
        "queuedTime": TIMES,
        "restarts": st.integers(0, 3),
        "specDigest": st.sampled_from(["another", "sha256:0"]),
        "queue": st.just({"position": 1, "length": 2, "missing": "1 GPU"}),
        "completed": st.just({"indexes": "0"}),
        "backoff": st.fixed_dictionaries({"failures": st.integers(0, 3), "lastTime": TIMES}),
        "elastic": st.just({"indices": [0, 1], "next": 2}),
        "progress": st.fixed_dictionaries({"lastUpdatedTime": TIMES}),
        "conditions": st.just(
            [{"type": "Running", "status": "True", "reason": "R", "message": "", "lastTransitionTime": pods.NOW}]
        ),
    },
)


@st.composite
def scenes(draw: st.DrawFn) -> GangState:
    """Any mixture of a spec, pods and a status: more than the operator itself would ever bring about."""
    policies = {
        "runPolicy": {"suspend": draw(st.booleans()), "activeDeadlineSeconds": 300, "startupDeadlineSeconds": 60},
        "failurePolicy": {"maxRestarts": draw(st.integers(0, 2))},
    }
    job = job_of(numNodes=draw(st.integers(1, 3)), **policies)
    gang = TrainingGang(job, PLATFORM)
    seen = []
    for index, attempt in draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=4)):
        body = pods.pod(gang.pod_name(index, attempt), index, attempt, draw(st.sampled_from(["n", ""])), **draw(PHASES))
        body = pods.deleted(body) if draw(st.booleans()) else body
        seen.append(observe_pod(body, NOW))
    split = draw(st.integers(0, len(seen)))
    return GangState(
        gang,
        tuple(seen[:split]),
        tuple(seen[split:]) if draw(st.booleans()) else (),
        StatusDraft(draw(STATUS), 1, NOW),
        NOW,
        Rules(replaces=draw(st.booleans()), progress_deadline=60, schedule_timeout=draw(st.sampled_from([None, 20]))),
        draw(st.sampled_from([None, Hold(1, 2, "1 GPU")])),
        gives_way=draw(st.sampled_from(["", "team/other"])),
    )


def _drafted(state: GangState) -> dict[str, Any]:
    return copy.deepcopy(vars(state.draft) | {"_run": None})


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_a_rule_that_declines_leaves_the_draft_untouched(state: GangState) -> None:
    if state.draft.run.finished:
        return
    for rule in lifecycle._RULES:
        before = _drafted(state)
        if rule(state) is not None:
            return
        assert _drafted(state) == before, rule.__name__


@given(scenes())
def test_some_rule_always_decides(state: GangState) -> None:
    assert lifecycle.decide(state) is not None
