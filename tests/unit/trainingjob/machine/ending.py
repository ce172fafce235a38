"""How the life of a TrainingJob must end once nothing is in its way any more."""

from __future__ import annotations

from slipway.reconcile.run_state import read_run
from slipway.runtime.client.resource import PODS, Object, Resource, uid_of
from slipway.trainingjob.job import TRAINING_JOBS
from tests.unit.trainingjob.machine.invariants import Invariants


class Ending(Invariants):
    """Heals the world, lets it run, and looks at what is left."""

    def teardown(self) -> None:
        try:
            if hasattr(self, "spec"):
                self._heal()
                self._run_to_the_end()
                self._check_the_end()
        finally:
            self.world.loop.close()

    def _heal(self) -> None:
        """Everything that can be in the way goes; time and kubelets do the rest."""
        world = self.world
        kube = world.process.kube
        kube.crash_at, kube.fail_next = None, None
        world.settle()
        world.server.pod_quota = None
        for pod in world.pods:
            # A lost node stays lost; its pods are only marked as deleted, by Kubernetes' node controller.
            if pod["spec"].get("nodeName") in world.lost:
                world.server.delete(PODS, pod["metadata"]["name"])
        self._remove_strangers()
        world.server.collect_garbage()
        if world.job is not None:
            world.edit(("runPolicy", "suspend"), False)
            world.edit(("numNodes",), self._made_for() or 2)
            world.edit(("runPolicy", "startupDeadlineSeconds"), None)
        world.relist()

    def _made_for(self) -> int | None:
        """The node count that the gang was made for: an edit of a running job is to be taken back."""
        status = (self.world.job or {}).get("status") or {}
        if status.get("specDigest") is None:
            return None
        made = [
            after["spec"]["numNodes"]
            for before, after in self.world.server.status_history
            if after["status"].get("specDigest") == status["specDigest"]
            and (before.get("status") or {}).get("specDigest") != status["specDigest"]
        ]
        return int(made[-1])

    def _run_to_the_end(self) -> None:
        world = self.world
        for _ in range(80):
            world.settle()
            if world.job is None or self._finished():
                self._last_duties()
                return
            if not world.kubelet_round():
                self._to_next_due()
                world.clock.seconds += 0.001
        raise AssertionError(f"no end: {world.job and world.job.get('status')}, {world.pods}, due {self._due()}")

    def _last_duties(self) -> None:
        world = self.world
        for _ in range(6):
            for pod in world.pods:
                if pod["metadata"].get("deletionTimestamp") and pod in self._reachable():
                    world.server.remove(PODS, pod["metadata"]["name"])
            world.server.collect_garbage()
            world.settle()
            self._to_next_due()

    def _check_the_end(self) -> None:
        world = self.world
        if world.job is None:
            # What is left on a lost node of a deleted job is the node controller's affair, or a successor's.
            assert not [pod for pod in world.alive() if pod["spec"].get("nodeName") not in world.lost]
            return
        if world.job["spec"]["runPolicy"]["cleanPodPolicy"] != "None":
            assert not world.alive()
        if world.job["spec"]["runPolicy"]["cleanPodPolicy"] == "All":
            assert not world.pods
        world.restart()
        world.settle()
        assert world.process.kube.writes == 0, "a restart at rest writes nothing"
        wants = world.wants()
        assert not wants.writes
        assert not wants.deletes
        assert wants.status in (None, world.job["status"])
        told = [reason for uid, reason in world.notices if uid == uid_of(world.job) and reason == "Succeeded"]
        assert len(told) <= 1

    def _finished(self) -> bool:
        return read_run((self.world.job or {}).get("status") or {}).finished

    def _reachable(self) -> list[Object]:
        return [p for p in self.world.pods if p["spec"].get("nodeName") not in self.world.lost | {None}]

    def _running(self) -> list[Object]:
        return [p for p in self._reachable() if p["status"]["phase"] == "Running"]

    def _going(self) -> list[Object]:
        return [p for p in self._reachable() if p["metadata"].get("deletionTimestamp")]

    def _due(self) -> float | None:
        return self.world.process.queue.next_due()

    def _to_next_due(self) -> None:
        due = self._due()
        if due is not None:
            self.world.clock.seconds = max(self.world.clock.seconds, due)

    def _remove_strangers(self) -> None:
        for (plural, name), obj in [*self.world.server.objects.items()]:
            if plural != TRAINING_JOBS.plural and not obj["metadata"].get("ownerReferences"):
                self.world.server.remove(Resource("", "v1", plural, "Any"), name)
                self.strangers.discard((plural, name))
