"""One pod that takes all the connections it can get from a running operator, of the leader and of the one behind it.

The operator must not grow, nor give the flood its time, nor let a job wait for it; and a pod at another address must
get its post in. How much slower a job is in a flood is measured by `python -m tests.perf.operator.flood_bench`. Here a
machine that is busy with other tests must do: connections and the operator's CPU time are counted, and waits are
compared by the best of several rounds.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import ssl
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway.gang.status_endpoint import STATUS_AUDIENCE
from slipway.runtime.connections.limits import Limits
from tests.api.operators import Operator
from tests.api.stage import JOBS, PATIENCE, Object, Stage
from tests.hostile.flood import WITHOUT_TLS, flooding
from tests.perf.machine import cpu_seconds
from tests.ports import free_ports

pytestmark = pytest.mark.api

NS = "floods"
HONEST, HOSTILE = "127.0.0.3", "127.0.0.2"
# What connections may take at most; without a limit each kind of flood took several times as much.
ROOM_MIB = 32
# A limit is reached after half of it.
FLOOD_SECONDS = 3.0
# Of one CPU: what the limits give (0.2 for exchanges, 0.1 for accepting), and as much again for what is not counted.
ROOM_CPU = 0.6
# A neighbour on the machine disturbs one round; a flood that is let in disturbs all.
ROUNDS = 4
FLOODS = ("silent", "half-head", "slow-body", "unread", "post")
_numbers = itertools.count()


@dataclass
class Replica:
    operator: Operator
    port: int
    authority: Path

    def post(self, token: str, name: str, percent: int) -> int:
        """The answer's code to an honest pod's post."""
        trust = ssl.create_default_context(cafile=str(self.authority))
        source = (HONEST, 0)
        there = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, source_address=source, context=trust)
        status = {"progressPercentage": percent, "lastUpdatedTime": "2026-01-01T00:00:00Z"}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        there.request("POST", f"{JOBS.format(NS)}/{name}/status", json.dumps({"trainerStatus": status}), headers)
        return there.getresponse().status

    def cut_off(self, port: str) -> float:
        found = re.findall(rf'cut_off_total\{{limit="[^"]+",port="{port}"\}} (\S+)', self.operator.metrics())
        return sum(float(number) for number in found)


@dataclass
class Scene:
    stage: Stage
    leader: Replica
    standby: Replica
    name: str
    token: str
    since: float

    def reconcile(self) -> float:
        """Seconds from a job's creation to its pod, the median of some."""
        waits = []
        for _ in range(5):
            name = f"quick-{next(_numbers)}"
            started = time.monotonic()
            self.stage.create(NS, name)
            self.stage.until_pods(NS, name, lambda pods: pods, 60)
            waits.append(time.monotonic() - started)
        return statistics.median(waits)

    def share(self) -> list[float]:
        """What each replica takes of a CPU while nobody but the flood wants anything of it."""
        pids = [replica.operator.process.pid for replica in (self.leader, self.standby)]
        began, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
        time.sleep(FLOOD_SECONDS)
        spent = [cpu_seconds(pid) - then for pid, then in zip(pids, before, strict=True)]
        return [one / (time.monotonic() - began) for one in spent]


@pytest.fixture(scope="module")
def scene(
    stage: Stage, operators: Callable[..., Operator], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    stage.namespace(NS)
    folder = tmp_path_factory.mktemp("floods")
    replicas, since = [], time.monotonic()
    for place, port in zip(("leader", "standby"), free_ports(2), strict=True):
        operator = operators(
            NS,
            SLIPWAY_LEASE_NAMESPACE=NS,
            SLIPWAY_IDENTITY=place,
            SLIPWAY_STATUS_URL=f"https://127.0.0.1:{port}",
            SLIPWAY_STATUS_PORT=str(port),
            SLIPWAY_STATUS_CERT_DIR=str(folder / "none"),
            SLIPWAY_STATUS_MADE_DIR=str(folder / place),
        )
        operator.ready()
        replicas.append(Replica(operator, port, folder / place / "ca.crt"))
    stage.create(NS, "digits")
    pod = stage.until_running(NS, "digits") and stage.until_pods(NS, "digits", lambda pods: pods)
    token = stage.plane.token(NS, "default", [STATUS_AUDIENCE], pod=next(iter(pod.values())))
    built = Scene(stage, *replicas, "digits", token, since)
    built.reconcile()
    yield built
    for replica in replicas:
        replica.operator.kill()


def percent(job: Object) -> int:
    return int(((job.get("status") or {}).get("progress") or {}).get("percent") or 0)


@pytest.mark.parametrize("how", FLOODS)
def test_a_pod_that_takes_all_connections_costs_memory_and_time_within_bounds(scene: Scene, how: str) -> None:
    replicas = scene.leader, scene.standby
    before = [replica.operator.rss_mib() for replica in replicas]
    told, began = 10 + FLOODS.index(how), time.monotonic()
    with (
        flooding(how, scene.leader.port, HOSTILE, rate=400) as figures,
        flooding(how, scene.standby.port, HOSTILE, rate=200),
    ):
        shares = scene.share()
        assert scene.leader.post(scene.token, scene.name, told) == 200
        assert scene.standby.post(scene.token, scene.name, told) == 503
        scene.stage.until_object(JOBS.format(NS), scene.name, lambda job: percent(job) == told)
        after = [replica.operator.rss_mib() for replica in replicas]
    print(f"{how}: {shares} of a CPU; {before} MiB, then {after} MiB; {figures}")
    assert all(replica.operator.running() for replica in replicas)
    assert all(now - then < ROOM_MIB for now, then in zip(after, before, strict=True))
    assert all(replica.cut_off("status") for replica in replicas)
    assert all(share < ROOM_CPU for share in shares)
    if how not in WITHOUT_TLS:
        let_in = Limits().burst + Limits().per_second * (time.monotonic() - began)
        assert figures.get("connected", 0) <= let_in, "handshakes were paid for above the rate of one peer"
    told_of = scene.leader.operator.log.read_text().count("connections cut off: peer-rate")
    assert told_of <= 1 + (time.monotonic() - scene.since) / 60, "a line for each would fill a disk"


@pytest.mark.parametrize("how", FLOODS)
def test_a_job_waits_in_a_flood_hardly_longer_than_without(scene: Scene, how: str) -> None:
    usual: list[float] = []
    flooded: list[float] = []
    for _ in range(ROUNDS):
        usual.append(scene.reconcile())
        with flooding(how, scene.leader.port, HOSTILE, rate=400):
            flooded.append(scene.reconcile())
        if min(flooded) < 3 * min(usual) + 0.1 * PATIENCE:
            break
    print(f"{how}: {usual} s, in the flood {flooded} s")
    assert min(flooded) < 3 * min(usual) + 0.1 * PATIENCE


@pytest.mark.parametrize("how", ["connect", "scrape"])
def test_probes_are_answered_in_a_flood_of_their_port(scene: Scene, how: str) -> None:
    health = scene.leader.operator.health
    with flooding(how, health, HOSTILE, rate=400, plain=True):
        for _ in range(10):
            # Of manifests/base: a kubelet gives a probe 5 s.
            with urllib.request.urlopen(f"http://127.0.0.1:{health}/healthz", timeout=5) as answer:
                assert answer.status == 200
            time.sleep(0.2)
        assert scene.leader.cut_off("health") > 0
