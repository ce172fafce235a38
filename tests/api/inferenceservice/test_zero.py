"""To zero and back: a real operator hears a real activator, of which the first client is held until a pod serves."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import pytest

from slipway.inferenceservice.activator.activator import CONTROL_PORT
from slipway.inferenceservice.service import GRPC_PORT, HTTP_PORT
from tests.api.inferenceservice.figures import Figures
from tests.api.inferenceservice.services import ADDRESSES, DEPLOYMENTS, Town, predictor
from tests.api.operators import Operator
from tests.api.stage import PATIENCE, Stage, marked
from tests.cluster.scripted.script import Script
from workloads.activator.proxy import Limits
from workloads.activator.run import Activator, Settings

pytestmark = pytest.mark.api
SERVER = {"SLIPWAY_SERVER_IMAGE": "registry.example.com/slipway/server:test"}
TO_ZERO = {"minReplicas": 0, "maxReplicas": 3, "scaleTarget": 2, "scaleToZeroPodRetentionSeconds": 5}
# From the first request to the new size of the Deployment, on a machine with nothing else to do.
WAKE_SECONDS = 2.0
_hosts = itertools.count(1)


class Held:
    """The real activator on an address of its own, in front of one where a pod may lie."""

    def __init__(self, number: int) -> None:
        self.address, self.pod = f"127.10.{number}.1", f"127.10.{number}.2"
        self._over: Future[None] = Future()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        settings = Settings(
            backend=self.pod,
            backend_http=HTTP_PORT,
            backend_grpc=GRPC_PORT,
            host=self.address,
            http=HTTP_PORT,
            grpc=GRPC_PORT,
            control=CONTROL_PORT,
            limits=Limits(hold=60),
            lead=0,
            drain=1,
        )
        it = Activator(settings)
        await it.start()
        self._up.set()
        await asyncio.wrap_future(self._over)
        await it.drain()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set_result(None)
        self._thread.join()

    def ask(self) -> int:
        """One client that waits for as long as it takes; the status."""
        connection = http.client.HTTPConnection(self.address, HTTP_PORT, timeout=60)
        connection.request("GET", "/v2")
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture(scope="module")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Operator:
    return operators(stage.namespace("zero"), **SERVER)


@pytest.fixture
def town(stage: Stage, operator: Operator) -> Town:
    operator.ready()
    return Town(stage, "zero")


@pytest.fixture
def held() -> Iterator[Held]:
    with Held(next(_hosts)) as it:
        yield it


def created(town: Town, name: str, held: Held, **spec: Any) -> None:
    """A service that may sleep; its pods lie at one address, its activator's at another."""

    def script(pod: dict[str, Any]) -> Script:
        activates = "slipway.dev/activator" in pod["metadata"]["labels"]
        return Script(runs_for=None, address=held.address if activates else held.pod)

    town.stage.scripts[name] = script
    town.create(name, **{"autoScaling": TO_ZERO, **spec})


def leads_to(town: Town, name: str) -> set[str]:
    return set(town.get(ADDRESSES, name)["spec"]["selector"])


def until_leads_to(town: Town, name: str, label: str) -> None:
    town.stage.until_object(town.path(ADDRESSES), name, lambda o: set(o["spec"]["selector"]) == {label}, 40)


def replicas(all_: dict[str, Any]) -> list[int]:
    return [d["spec"]["replicas"] for name, d in all_.items() if not name.endswith("-activator")]


def asleep(town: Town, name: str) -> dict[str, Any]:
    found = town.until(name, lambda s: marked(s, "Ready", "True", "NoTraffic"), 60)
    town.until_deployments(name, lambda all_: replicas(all_) == [0])
    return found


def test_to_zero_without_a_request_and_back_with_the_first_one(town: Town, name: str, held: Held) -> None:
    with Figures(held.pod):
        created(town, name, held)
        url = town.until_ready(name, desired=1, ready=1)["url"]
        until_leads_to(town, name, "slipway.dev/job-uid")
        slept = asleep(town, name)
    assert slept["url"] == url
    assert slept["autoScaling"]["desired"] == 0
    assert leads_to(town, name) == {"slipway.dev/activator"}
    with ThreadPoolExecutor(50) as pool:
        asked, clients = time.monotonic(), [pool.submit(held.ask) for _ in range(50)]
        woken = town.until_deployments(name, lambda all_: replicas(all_) != [0])
        took = time.monotonic() - asked
        assert replicas(woken)[0] >= 1
        print(f"woken in {took * 1000:.0f} ms")
        assert took < WAKE_SECONDS * PATIENCE
        with Figures(held.pod):
            until_leads_to(town, name, "slipway.dev/job-uid")
            assert {client.result(60) for client in clients} == {200}
            again = town.until(name, lambda s: marked(s, "Ready", "True", "Serving"))
    assert "woken by a request" in again["autoScaling"]["message"]


def order(town: Town, name: str) -> list[str]:
    """Which of Service and Deployment the operator changed, in the order of the server's audit log.

    It patches the one to lead it elsewhere, and the other to give it another size.
    """
    patched = [
        (entry["objectRef"]["resource"], entry["objectRef"]["name"])
        for entry in town.writes()
        if entry["verb"] == "patch" and entry["responseStatus"]["code"] == 200
    ]
    ours = [what for what, which in patched if which.startswith(name) and not which.endswith("-activator")]
    return [what for what in ours if what in ("services", "deployments")]


def test_the_service_is_led_away_before_the_pod_goes_and_back_after_it_is_ready(
    town: Town, name: str, held: Held
) -> None:
    with Figures(held.pod):
        created(town, name, held)
        town.until_ready(name, desired=1, ready=1)
        asleep(town, name)
        with ThreadPoolExecutor(1) as pool:
            # The pod's address answers already: what counts is whom the Service leads to, and when.
            assert pool.submit(held.ask).result(60) == 200
            town.until(name, lambda s: marked(s, "Ready", "True", "Serving") and s["replicas"]["ready"])
            until_leads_to(town, name, "slipway.dev/job-uid")
    assert order(town, name)[-4:] == ["services", "deployments", "deployments", "services"]


@pytest.mark.slow  # the next operator waits for the lease of one that was killed
def test_an_operator_that_takes_over_lets_it_sleep_and_hears_its_activator(
    town: Town, operator: Operator, name: str, held: Held
) -> None:
    with Figures(held.pod):
        created(town, name, held)
        town.until_ready(name, desired=1, ready=1)
        asleep(town, name)
        operator.kill()
        operator.start()
        operator.ready()
        with ThreadPoolExecutor(1) as pool:
            town.edit(name, rollout={"canary": None})
            assert replicas(town.deployments(name)) == [0]
            client = pool.submit(held.ask)
            town.until_deployments(name, lambda all_: replicas(all_) == [1])
            assert client.result(60) == 200


def test_a_new_revision_wakes_it_and_taking_the_activator_away_ends_it(town: Town, name: str, held: Held) -> None:
    with Figures(held.pod):
        created(town, name, held)
        first = town.until_ready(name, desired=1, ready=1)["components"]["predictor"]["latestReadyRevision"]
        asleep(town, name)
        town.edit(name, predictor=predictor(batching={"maxBatchSize": 8}))
        town.until(name, lambda s: s["components"]["predictor"].get("latestRolledoutRevision") not in (None, first), 60)
        town.edit(name, autoScaling=None)
        until_leads_to(town, name, "slipway.dev/job-uid")
        town.stage.until_gone(town.path(DEPLOYMENTS), f"{name}-activator")
        town.until_ready(name, desired=1, ready=1)


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(operator: Operator) -> None:
    assert operator.running(), operator.tail()
    assert "Traceback" not in operator.log.read_text(), operator.tail()
