"""What becomes of a TrainingJob in the cluster: Service, ConfigMap and pods, field by field."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.training.trainingjob import NAME_BUDGET, TrainingJobSpec, spec_problems
from slipway.reconcile.podspec import CACHES
from slipway.trainingjob import pods
from tests.unit.trainingjob.rendered import (
    AGENT,
    PLATFORM,
    RECIPE,
    WITH_STATUS,
    container_of,
    env_of,
    job_of,
    pod_of,
    resources,
)


def test_torchrun_static_finds_its_peers() -> None:
    job = job_of(numNodes=2, numProcPerNode=4)
    for index in range(2):
        env = env_of(job, index)
        assert env == {
            "PET_NNODES": "2",
            "PET_NPROC_PER_NODE": "4",
            "PET_NODE_RANK": str(index),
            "PET_MASTER_ADDR": "j-node-0.j-nodes.team.svc",
            "PET_MASTER_PORT": "29500",
            "PET_MAX_RESTARTS": "0",
            "MASTER_ADDR": "j-node-0.j-nodes.team.svc",
            "MASTER_PORT": "29500",
            "WORLD_SIZE": "8",
            "RANK": str(index),
            "PYTHONUNBUFFERED": "1",
            **CACHES,
        }
        assert container_of(job, index)["command"] == [*AGENT, "torchrun", "--no-python", "python", "train.py"]


def test_the_masters_name_is_one_that_the_service_gives() -> None:
    job = job_of(numNodes=2)
    host, service, namespace, suffix = env_of(job)["MASTER_ADDR"].split(".")
    node, made = pod_of(job, 0), pods.service(job, 0)
    assert (node["spec"]["hostname"], node["spec"]["subdomain"]) == (host, service)
    assert (made["metadata"]["name"], made["metadata"]["namespace"], suffix) == (service, namespace, "svc")
    assert container_of(job)["ports"][0]["containerPort"] == int(env_of(job)["MASTER_PORT"])
    assert made["spec"]["ports"][0]["port"] == int(env_of(job)["MASTER_PORT"])


def test_one_node_needs_no_name_service() -> None:
    assert env_of(job_of(numNodes=1))["PET_MASTER_ADDR"] == "127.0.0.1"


def test_an_image_that_calls_torchrun_itself_is_left_to_do_so() -> None:
    for command in (["torchrun", "x.py"], ["/opt/venv/bin/torchrun", "x"]):
        assert container_of(job_of(trainer={"command": command}))["command"] == [*AGENT, *command]
    module = ["python3.11", "-m", "torch.distributed.run", "x.py"]
    assert container_of(job_of(trainer={"command": module}))["command"] == ["python3.11", AGENT[1], "-", "x.py"]


def test_plain_has_a_rank_per_node_and_no_pet() -> None:
    job = job_of(launcher="plain", numNodes=3)
    for index in range(3):
        env = env_of(job, index)
        assert {name: env[name] for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK")} == {
            "WORLD_SIZE": "3",
            "RANK": str(index),
            "LOCAL_RANK": "0",
        }
        assert not [name for name in env if name.startswith("PET_")]
    assert container_of(job)["command"] == ["python", "train.py"]
    _, problems = spec_problems("j", {"launcher": "plain", "numProcPerNode": 2, "trainer": {"command": ["x"]}})
    assert "launcher to torchrun" in problems[0]


def test_the_service_selects_one_attempt_and_does_not_wait_for_readiness() -> None:
    job = job_of(numNodes=2)
    for attempt in (0, 3):
        spec = pods.service(job, attempt)["spec"]
        assert spec["clusterIP"] == "None"
        assert spec["publishNotReadyAddresses"] is True
        for at in (0, 3):
            selected = spec["selector"].items() <= pod_of(job, 1, at)["metadata"]["labels"].items()
            assert selected == (at == attempt)


def test_names_carry_the_attempt_and_host_names_do_not() -> None:
    job = job_of(numNodes=2)
    assert [pod_of(job, 1, attempt)["metadata"]["name"] for attempt in (0, 7)] == ["j-node-1-a0", "j-node-1-a7"]
    assert {pod_of(job, 1, attempt)["spec"]["hostname"] for attempt in (0, 7)} == {"j-node-1"}


def test_the_users_environment_wins_and_keeps_its_order() -> None:
    mine = [
        {"name": "NCCL_DEBUG", "value": "INFO"},
        {"name": "PYTHONUNBUFFERED", "value": "0"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    job = job_of(trainer={"env": mine})
    listed = container_of(job)["env"]
    assert env_of(job)["PYTHONUNBUFFERED"] == "0"
    assert [env["name"] for env in listed[-3:]] == ["NCCL_DEBUG", "PYTHONUNBUFFERED", "TOKEN"]
    secret = env_of(job)["TOKEN"]["secretKeyRef"]
    assert (secret["name"], secret["key"]) == ("s", "k")


RESERVED = ("PET_NNODES", "PET_X", "WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLIPWAY_X")


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_the_launcher_sets_are_refused(name: str) -> None:
    trainer = {"command": ["x"], "env": [{"name": name, "value": "1"}]}
    parsed, problems = spec_problems("j", {"trainer": trainer})
    assert parsed is None
    assert "spec.trainer" in problems[0]


@given(st.integers(0, 2), st.integers(0, 3))
def test_the_same_job_renders_to_the_same_bytes(index: int, attempt: int) -> None:
    spec = {"numNodes": 3, "trainer": resources(cpu=2) | {"env": [{"name": n, "value": "1"} for n in "cab"]}}

    def rendered() -> str:
        job = job_of(**spec)
        return json.dumps([pod_of(job, index, attempt), pods.service(job, attempt), pods.config_map(job, PLATFORM)])

    assert rendered() == rendered()


RENDER_ALL = """
import json
from slipway.trainingjob import pods
from tests.unit.trainingjob.rendered import OWN, WITH_STATUS, job_of
labels = {f"{n}.dev/x": n for n in "cabd"}
for launcher in ("torchrun", "deepspeed", "horovodrun", "mpirun", "plain"):
    pod = {"labels": labels, "nodeSelector": labels, "tolerations": [{"key": k, "operator": "Exists"} for k in labels]}
    job = job_of(launcher=launcher, numNodes=3, pod=pod, trainer=OWN | {"env": [{"name": n} for n in "cabd"]})
    print(json.dumps([pods.pod(job, 1, 0, WITH_STATUS), pods.service(job, 0), pods.config_map(job, WITH_STATUS)]))
"""


def test_the_order_is_the_same_in_every_process() -> None:
    """Python's hash seed differs from start to start: an order taken from a set would, too."""
    paths = os.pathsep.join(path for path in sys.path if path)
    rendered = {
        subprocess.run(
            [sys.executable, "-c", RENDER_ALL],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert [len(text.splitlines()) for text in rendered] == [5]


def test_every_child_names_its_owner_and_its_place() -> None:
    job = job_of(numNodes=2, pod={"labels": {"team": "vision"}, "annotations": {"note": "x"}})
    children = [pods.service(job, 1), pods.config_map(job, PLATFORM), pod_of(job, 1, 1), pods.secret(job)]
    for child in children:
        assert child["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "slipway.dev/v1alpha1",
                "kind": "TrainingJob",
                "name": "j",
                "uid": "uid-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        labels = child["metadata"]["labels"]
        assert labels.items() >= {"slipway.dev/job-name": "j", "slipway.dev/job-uid": "uid-1"}.items()
        assert labels["slipway.dev/managed"] == "true"
    metadata = children[2]["metadata"]
    assert metadata["annotations"] == {"note": "x"}
    assert (
        metadata["labels"].items()
        >= {
            "team": "vision",
            "slipway.dev/replica-type": "node",
            "slipway.dev/replica-index": "1",
            "slipway.dev/attempt": "1",
        }.items()
    )


def test_settings_reach_the_pod() -> None:
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]}]
            }
        }
    }
    settings = {
        "nodeSelector": {"zone": "a"},
        "affinity": affinity,
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "trainer",
        "priorityClassName": "high",
        "schedulerName": "volcano",
        "terminationGracePeriodSeconds": 120,
        "runAsUser": 1000,
        "fsGroup": 2000,
    }
    spec = pod_of(job_of(pod=settings, trainer=resources(cpu=2) | {"args": ["--lr"], "workingDir": "/w"}))["spec"]
    for field in ("nodeSelector", "affinity", "imagePullSecrets", "serviceAccountName", "priorityClassName"):
        assert spec[field] == settings[field]
    assert spec["schedulerName"] == "volcano"
    assert spec["terminationGracePeriodSeconds"] == 120
    assert spec["securityContext"].items() >= {"runAsUser": 1000, "fsGroup": 2000}.items()
    container = spec["containers"][0]
    assert (container["args"], container["workingDir"], container["image"]) == (["--lr"], "/w", "example.com/train:1")
    assert container["resources"] == {"limits": {"cpu": 2}}
    assert spec["restartPolicy"] == "Never"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_lost_node_is_not_waited_for_longer_than_asked() -> None:
    job = job_of(failurePolicy={"nodeLostGraceSeconds": 7})
    lost = {t["key"]: t for t in pod_of(job)["spec"]["tolerations"]}
    for taint in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        assert lost[taint] == {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 7}
    mine = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    listed = pod_of(job_of(pod={"tolerations": [mine]}))["spec"]["tolerations"]
    assert [t for t in listed if t["key"] == mine["key"]] == [mine]


def test_the_built_in_trainer_reads_the_job_from_its_config_map() -> None:
    job = job_of(recipe=RECIPE, numNodes=2, numProcPerNode=1)
    container = container_of(job)
    config = container["command"][-1]
    assert container["command"][:5] == ["python", "-m", "workloads", "torchrun", "--no-python"]
    assert container["image"] == "registry.example.com/slipway/trainer:9.9"
    mount = next(m for m in container["volumeMounts"] if config.startswith(m["mountPath"]))
    volume = next(v for v in pod_of(job)["spec"]["volumes"] if v["name"] == mount["name"])
    made = pods.config_map(job, PLATFORM)
    assert volume["configMap"]["name"] == made["metadata"]["name"]
    document = json.loads(made["data"][config.rsplit("/", 1)[1]])
    assert TrainingJobSpec.model_validate(document["spec"]) == job.spec
    assert document["metadata"] == {"name": "j", "namespace": "team", "uid": "uid-1"}


def test_the_environment_holds_nothing_of_other_services() -> None:
    """A Service named `master` in the namespace would set MASTER_PORT=tcp://..."""
    assert pod_of(job_of())["spec"]["enableServiceLinks"] is False


def test_only_the_progress_token_is_mounted() -> None:
    assert pod_of(job_of())["spec"]["automountServiceAccountToken"] is False
    assert not [v for v in pod_of(job_of())["spec"]["volumes"] if "projected" in v]
    spec = pod_of(job_of(), platform=WITH_STATUS)["spec"]
    (token,) = [v for v in spec["volumes"] if "projected" in v]
    (source,) = token["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == WITH_STATUS.endpoint.audience
    assert pods.config_map(job_of(), WITH_STATUS)["data"]["status-ca.crt"] == "PEM"
    env = env_of(job_of(), platform=WITH_STATUS)
    mounts = {m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    assert env["KUBEFLOW_TRAINER_SERVER_TOKEN"].rsplit("/", 1)[0] in mounts
    assert env["KUBEFLOW_TRAINER_SERVER_CA_CERT"].rsplit("/", 1)[0] in mounts


@given(st.sampled_from([1, 9, 10, 11, 100, 101, 1000]))
def test_the_longest_name_that_passes_still_renders_to_dns_labels(nodes: int) -> None:
    longest = NAME_BUDGET - len(str(nodes - 1))
    spec = {"numNodes": nodes, "trainer": {"command": ["x"]}}
    assert spec_problems("a" * longest, spec)[0] is not None
    assert "shorten it" in spec_problems("a" * (longest + 1), spec)[1][0]
    job = job_of("a" * longest, numNodes=nodes)
    names = [pods.service(job, 0), pods.config_map(job, PLATFORM), pod_of(job, nodes - 1, 9999)]
    assert all(len(made["metadata"]["name"]) <= 63 for made in names)
    assert len(pod_of(job, nodes - 1)["spec"]["hostname"]) <= 63
    assert all(len(value) <= 63 for made in names for value in made["metadata"]["labels"].values())


def test_trackers_get_their_server_and_optional_credentials() -> None:
    """A Secret that is not there must not keep the pods from starting: no training waits for its tracking."""
    mlflow = {"uri": "https://mlflow.example.com", "experiment": "digits", "secretRef": {"name": "mlflow"}}
    container = container_of(job_of(tracking={"mlflow": mlflow}))
    env = {one["name"]: one for one in container["env"]}
    assert env["MLFLOW_TRACKING_URI"]["value"] == "https://mlflow.example.com"
    assert env["MLFLOW_EXPERIMENT_NAME"]["value"] == "digits"
    keys = [env[f"MLFLOW_TRACKING_{key}"]["valueFrom"]["secretKeyRef"] for key in ("TOKEN", "USERNAME", "PASSWORD")]
    assert all(key["name"] == "mlflow" and key["optional"] for key in keys)
    own = [{"name": "MLFLOW_TRACKING_TOKEN", "value": "mine"}]
    changed = container_of(job_of(tracking={"mlflow": mlflow}, trainer={"command": ["x"], "env": own, "image": "i"}))
    assert [one for one in changed["env"] if one["name"] == "MLFLOW_TRACKING_TOKEN"] == own
