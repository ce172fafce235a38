"""What hypothesis may choose from when it plays the life of a TrainingJob."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from slipway.runtime.client.resource import PODS
from slipway.trainingjob.job import TRAINING_JOBS

EXITS = st.sampled_from([(0, ""), (1, ""), (137, ""), (137, "OOMKilled"), (3, ""), (134, "")])
RULES: list[dict[str, Any]] = [
    {"action": "FailJob", "onExitCodes": {"values": [3]}},
    {"action": "RestartIgnoreMaxRestarts", "onReasons": ["OOMKilled"]},
]
SPECS = st.fixed_dictionaries(
    {
        "numNodes": st.integers(1, 3),
        "trainer": st.just({"command": ["train"]}),
        "pod": st.just({"terminationGracePeriodSeconds": 30}),
        "runPolicy": st.fixed_dictionaries(
            {
                "suspend": st.sampled_from([False, False, False, True]),
                "cleanPodPolicy": st.sampled_from(["None", "Running", "All"]),
            },
            optional={
                "activeDeadlineSeconds": st.sampled_from([20, 500]),
                "startupDeadlineSeconds": st.sampled_from([20, 500]),
                "ttlSecondsAfterFinished": st.sampled_from([0, 100]),
            },
        ),
        "failurePolicy": st.fixed_dictionaries(
            {
                "maxRestarts": st.integers(0, 2),
                "nodeLostGraceSeconds": st.sampled_from([0, 10]),
                "rules": st.sampled_from([[], RULES]),
            }
        ),
    }
)
WATCHED = st.sampled_from([TRAINING_JOBS, PODS])
WHICH = st.integers(0, 2)
NODES = st.sampled_from(["node-a", "node-b"])
# Mostly the operator keeps up with what happens; every now and then it does only a part, or nothing yet.
THEN = st.sampled_from(["settle", "settle", "settle", "settle", "look", "wait"])
EDITS = st.sampled_from(
    [
        ("suspend", None),
        ("suspend", None),
        ("numNodes", 0),
        ("numNodes", 2),
        ("numNodes", 3),
        ("activeDeadlineSeconds", 20),
        ("startupDeadlineSeconds", 20),
        ("activeDeadlineSeconds", None),
        ("startupDeadlineSeconds", None),
    ]
)
TROUBLE = st.one_of(
    st.tuples(st.just("quota"), st.sampled_from([None, 0, 1])),
    st.tuples(st.just("stranger"), st.tuples(st.sampled_from(["pods", "configmaps", "services"]), st.integers(0, 1))),
    st.tuples(st.sampled_from(["strangers go", "garbage", "dies"]), st.none()),
    st.tuples(st.just("watch down"), WATCHED),
    st.tuples(st.just("write fails"), st.booleans()),
    st.tuples(st.just("will die"), st.tuples(st.integers(1, 4), st.booleans())),
)
