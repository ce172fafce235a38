"""What holds of a TrainingJob at every moment, whatever happens to it."""

from __future__ import annotations

from hypothesis.stateful import RuleBasedStateMachine, invariant

from slipway.reconcile.run_state import read_run
from slipway.runtime import conditions
from slipway.runtime.client.resource import Object, uid_of
from slipway.runtime.conditions import parse_time
from tests.unit.trainingjob.sim_world import World


class Invariants(RuleBasedStateMachine):
    """Looked at after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.seen_statuses = 0
        self.seen_births = 0
        self.seen_work = 0
        self.strangers: set[tuple[str, str]] = set()

    @invariant()
    def never_two_gangs_at_once(self) -> None:
        gangs = {(p["metadata"]["ownerReferences"][0]["uid"], _attempt(p)) for p in self.world.alive()}
        assert len(gangs) <= 1, gangs

    @invariant()
    def never_two_pods_for_one_place(self) -> None:
        """Once all pods of an attempt were there, none of them is ever made again."""
        server = self.world.server
        for born in server.born[self.seen_births :]:
            labels = born["metadata"].get("labels") or {}
            owner = (born["metadata"].get("ownerReferences") or [{}])[0].get("uid")
            job = self.world.job
            if "slipway.dev/attempt" not in labels or job is None or uid_of(job) != owner:
                continue
            namesakes = [b for b in server.born if b is not born and b["metadata"]["name"] == born["metadata"]["name"]]
            if any((b["metadata"].get("ownerReferences") or [{}])[0].get("uid") == owner for b in namesakes):
                complete = [
                    after
                    for _, after in server.status_history
                    if uid_of(after) == owner
                    and after["status"].get("attemptTime")
                    and after["status"].get("attempt", 0) == _attempt(born)
                    and int(after["metadata"]["resourceVersion"]) < int(born["metadata"]["uid"].removeprefix("uid-"))
                ]
                assert not complete, f"{born['metadata']['name']} was made twice"
        self.seen_births = len(server.born)

    @invariant()
    def work_that_is_done_is_never_begun_again(self) -> None:
        """Once all nodes of an attempt have succeeded, and the operator has written that down, no pod is made."""
        server = self.world.server
        for born in server.born[self.seen_work :]:
            owner = (born["metadata"].get("ownerReferences") or [{}])[0].get("uid")
            for before, after in server.status_history:
                run = read_run(after["status"])
                made = int(born["metadata"]["uid"].removeprefix("uid-"))
                if uid_of(after) == owner and run.finished and int(after["metadata"]["resourceVersion"]) < made:
                    raise AssertionError(f"{born['metadata']['name']} was made after the end: {before}")
        self.seen_work = len(server.born)

    @invariant()
    def strangers_are_left_alone(self) -> None:
        objects = self.world.server.objects
        for name in self.strangers & objects.keys():
            assert set(objects[name]["metadata"]) == {"name", "namespace", "uid", "generation", "resourceVersion"}
            assert objects[name]["spec"] == {}
            assert "data" not in objects[name]

    @invariant()
    def statuses_only_move_forward(self) -> None:
        history = self.world.server.status_history
        for before, after in history[self.seen_statuses :]:
            self._check_step(before, after)
        self.seen_statuses = len(history)

    def _check_step(self, before: Object, after: Object) -> None:
        old, new = read_run(before.get("status") or {}), read_run(after["status"])
        assert after["status"] != before.get("status"), "a write that changes nothing"
        assert new.attempt >= old.attempt
        assert 0 <= new.restarts - old.restarts <= new.attempt - old.attempt, "a restart is counted once per attempt"
        charged = new.restarts_towards_max - old.restarts_towards_max, new.disruptions - old.disruptions
        if new.restarts > old.restarts:
            assert charged in {(1, 0), (0, 1)} or (charged == (0, 0) and _waived(after)), "one budget pays"
        else:
            assert charged in {(0, 0), (-1, 1)}, "what is heard late moves a restart from one budget to the other"
        if new.restarts_towards_max > old.restarts_towards_max:
            assert new.restarts_towards_max <= after["spec"]["failurePolicy"]["maxRestarts"]
        assert new.finished == (new.completion_time is not None)
        assert not (new.succeeded and new.failed)
        if old.finished:
            assert (new.succeeded, new.failed, new.completion_time) == (
                old.succeeded,
                old.failed,
                old.completion_time,
            )
        if new.completion_time:
            assert new.start_time is not None
            assert new.start_time <= new.completion_time
        self._check_conditions(before, after)

    def _check_conditions(self, before: Object, after: Object) -> None:
        old = (before.get("status") or {}).get("conditions") or []
        new = after["status"]["conditions"]
        assert len({c["type"] for c in new}) == len(new)
        for condition in new:
            past = conditions.get(old, condition["type"])
            if past is not None and past["status"] == condition["status"]:
                assert condition["lastTransitionTime"] == past["lastTransitionTime"]
            else:
                assert parse_time(condition["lastTransitionTime"]) <= self.world.clock.now()
        if conditions.get(new, "Ready")["status"] == "False":  # type: ignore[index]
            assert conditions.is_true(new, "Stalled") or conditions.is_true(new, "Failed")


def _waived(job: Object) -> bool:
    """Whether a rule of the user's may have said that the restart counts nowhere."""
    return any(rule["action"] == "RestartIgnoreMaxRestarts" for rule in job["spec"]["failurePolicy"].get("rules") or ())


def _attempt(pod: Object) -> int:
    return int(pod["metadata"]["labels"]["slipway.dev/attempt"])
