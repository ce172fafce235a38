"""What each launcher makes of a job: commands, environment, files; and how somebody else's launcher is found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.reconcile.podspec import LARGEST_VOLUME
from slipway.runtime.client.resource import SECRETS
from slipway.trainingjob import launchers, pods
from slipway.trainingjob.gang import TrainingGang
from tests.unit.trainingjob.rendered import (
    AGENT,
    PLATFORM,
    RECIPE,
    container_of,
    env_of,
    job_of,
    pod_of,
    resources,
)

GPUS = resources(**{"nvidia.com/gpu": 4})
N0, N1 = "j-node-0.j-nodes.team.svc", "j-node-1.j-nodes.team.svc"
ELASTIC = {"minNodes": 1, "maxNodes": 3}


def files_of(job: Any) -> dict[str, str]:
    data: dict[str, str] = pods.config_map(job, PLATFORM)["data"]
    return data


def volume_of(pod: dict[str, Any], path: str) -> dict[str, Any] | None:
    mounted = [m["name"] for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == path]
    return next((v for v in pod["spec"]["volumes"] if v["name"] in mounted), None)


def test_elastic_torchrun_meets_at_node_0_and_has_no_rank() -> None:
    job = job_of(numNodes=2, numProcPerNode=4, elasticPolicy=ELASTIC | {"maxRestarts": 7})
    for index in (0, 1, 5):
        env = env_of(job, index)
        assert (env["PET_NNODES"], env["PET_NPROC_PER_NODE"], env["PET_RDZV_BACKEND"]) == ("1:3", "4", "c10d")
        assert env["PET_RDZV_ENDPOINT"] == ("127.0.0.1:29500" if index == 0 else f"{N0}:29500")
        assert env["PET_MAX_RESTARTS"] == "7"
        assert "is_host=0" in env["PET_RDZV_CONF"].split(",")
        assert env["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"
        assert not {"PET_NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR"} & env.keys()


def test_the_rendezvous_is_of_one_attempt_of_one_job() -> None:
    job = job_of(numNodes=2, elasticPolicy=ELASTIC)
    ids = []
    for attempt in (0, 1):
        listed = pod_of(job, 1, attempt)["spec"]["containers"][0]["env"]
        ids.append(next(env["value"] for env in listed if env["name"] == "PET_RDZV_ID"))
    assert ids == ["uid-1-0", "uid-1-1"]


def test_the_pods_address_is_known_before_it_is_referred_to() -> None:
    listed = [env["name"] for env in container_of(job_of(numNodes=2, elasticPolicy=ELASTIC))["env"]]
    assert listed.index("SLIPWAY_POD_IP") < listed.index("PET_LOCAL_ADDR")
    assert env_of(job_of(numNodes=2, elasticPolicy=ELASTIC))["PET_LOCAL_ADDR"] == "$(SLIPWAY_POD_IP)"


def test_the_store_is_a_process_of_its_own_beside_node_0() -> None:
    job = job_of(numNodes=2, elasticPolicy=ELASTIC)
    run = [*AGENT, "torchrun", "--no-python", "python", "train.py"]
    assert container_of(job, 0)["command"] == ["python3", "/etc/slipway/rendezvous_store.py", "29500", *run]
    assert container_of(job, 1)["command"] == run
    compile(files_of(job)["rendezvous_store.py"], "rendezvous_store.py", "exec")


def test_one_elastic_node_stands_alone() -> None:
    job = job_of(numNodes=1, elasticPolicy={"maxNodes": 1})
    env = env_of(job)
    assert env["PET_STANDALONE"] == "1"
    assert not [name for name in env if "RDZV" in name]
    assert container_of(job)["command"][:3] == [*AGENT, "torchrun"]
    assert "rendezvous_store.py" not in files_of(job)


def test_an_elastic_batch_divides_at_every_size() -> None:
    recipe = {**RECIPE, "globalBatchSize": 64}
    for launcher in ("torchrun", "horovodrun"):
        spec = {"launcher": launcher, "numNodes": 2, "numProcPerNode": 1, "recipe": recipe}
        assert launchers.problems(job_of(**spec, elasticPolicy=ELASTIC)) != []
        assert launchers.problems(job_of(**spec, elasticPolicy={"maxNodes": 2})) == []


def deepspeed(**fields: Any) -> Any:
    return job_of(launcher="deepspeed", numNodes=2, trainer=GPUS, deepspeed=fields)


def config_of(job: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files_of(job)["ds_config.json"])
    return found


def test_ds_config_from_typed_fields() -> None:
    job = deepspeed(
        zeroStage=3,
        offloadOptimizer={"device": "cpu", "pinMemory": True},
        offloadParam={"device": "nvme", "nvmePath": "/nvme"},
        precision="fp16",
        trainMicroBatchSizePerGpu=2,
        trainBatchSize=16,
        gradientClipping=1.0,
    )
    assert launchers.problems(job) == []
    assert config_of(job) == {
        "train_batch_size": 16,
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 1.0,
        "fp16": {"enabled": True},
        "zero_optimization": {
            "stage": 3,
            "offload_optimizer": {"device": "cpu", "pin_memory": True},
            "offload_param": {"device": "nvme", "pin_memory": False, "nvme_path": "/nvme"},
            "stage3_gather_16bit_weights_on_model_save": True,
        },
    }
    assert volume_of(pod_of(job), "/nvme") == {"name": "slipway-nvme-0", "emptyDir": {"sizeLimit": LARGEST_VOLUME}}
    assert env_of(job)["SLIPWAY_DEEPSPEED_CONFIG"] == "/etc/slipway/ds_config.json"


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_zero_stage(stage: int) -> None:
    config = config_of(deepspeed(zeroStage=stage))
    assert config["zero_optimization"]["stage"] == stage
    assert (config["bf16"], config["train_batch_size"]) == ({"enabled": True}, 8)


def test_a_batch_that_does_not_multiply_is_refused_in_numbers() -> None:
    (problem,) = launchers.problems(deepspeed(trainMicroBatchSizePerGpu=2, trainBatchSize=17))
    assert "17 is not micro batch 2 x accumulation 1 x 8 processes = 16" in problem
    assert launchers.problems(deepspeed(trainBatchSize=64, gradientAccumulationSteps=4)) == []
    assert config_of(deepspeed(trainBatchSize=64, gradientAccumulationSteps=4))["train_micro_batch_size_per_gpu"] == 2


def test_a_recipe_says_the_batch_precision_and_clipping() -> None:
    recipe = {**RECIPE, "precision": "bf16", "gradientClipping": 0.5, "gradientAccumulationSteps": 2}
    spec = {"launcher": "deepspeed", "numNodes": 2, "numProcPerNode": 4, "recipe": recipe}
    config = config_of(job_of(**spec))
    assert config["train_batch_size"] == 64
    assert (config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]) == (4, 2)
    assert (config["bf16"], config["gradient_clipping"]) == ({"enabled": True}, 0.5)
    (problem,) = launchers.problems(job_of(**spec, deepspeed={"trainMicroBatchSizePerGpu": 3}))
    assert "the recipe makes it 4" in problem
    fp32 = config_of(job_of(launcher="deepspeed", recipe=RECIPE, numProcPerNode=1))
    assert not {"bf16", "fp16"} & fp32.keys()


def test_a_disk_that_the_user_has_mounted_is_used() -> None:
    own = {"volumes": [{"name": "fast", "emptyDir": {}}], "volumeMounts": [{"name": "fast", "mountPath": "/scratch"}]}
    offload = {"device": "nvme", "nvmePath": "/scratch/ds"}
    job = job_of(
        launcher="deepspeed", trainer=GPUS, pod=own, deepspeed={"zeroStage": 3, "offloadParam": offload}, numNodes=1
    )
    assert volume_of(pod_of(job), "/scratch/ds") is None
    assert not [v for v in pod_of(job)["spec"]["volumes"] if v["name"].startswith("slipway-nvme")]


def test_deepspeed_is_started_by_torchrun_without_ssh() -> None:
    job = deepspeed(zeroStage=1)
    for index in (0, 1):
        assert container_of(job, index)["command"] == [*AGENT, "torchrun", "--no-python", "python", "train.py"]
        assert env_of(job, index)["PET_NODE_RANK"] == str(index)
    assert not launchers.launcher_of(job).keyed(job)
    assert volume_of(pod_of(job), "/var/run/secrets/slipway.dev/gang") is None


def test_pdsh_on_request_gets_a_hostfile_and_agents() -> None:
    job = deepspeed(zeroStage=1, launcher="pdsh")
    assert files_of(job)["hostfile"] == f"{N0} slots=4\n{N1} slots=4\n"
    command = container_of(job, 0)["command"]
    assert command[:4] == ["python3", "/etc/slipway/gang.py", "lead", "deepspeed"]
    said = " ".join(command)
    assert "--hostfile /etc/slipway/hostfile" in said
    assert f"--num_nodes 2 --num_gpus 4 --master_addr {N0} --master_port 29500" in said
    assert command[-2:] == ["python", "train.py"]
    assert container_of(job, 1)["command"] == ["python3", "/etc/slipway/gang.py", "serve"]


def test_static_horovod_needs_nobody_to_start_the_others() -> None:
    job = job_of(launcher="horovodrun", numNodes=2, numProcPerNode=2)
    assert files_of(job)["hosts"] == f"{N0}\n{N1}\n"
    for index in (0, 1):
        assert container_of(job, index)["command"] == [
            "python3",
            "/etc/slipway/horovod_launch.py",
            "python",
            "train.py",
        ]
        env = env_of(job, index)
        assert (env["SLIPWAY_NODE_INDEX"], env["SLIPWAY_GANG_SLOTS"]) == (str(index), "2")
        assert env["SLIPWAY_RENDEZVOUS_PORT"] == "29500"
        assert not [name for name in env if name.startswith("PET_")]


def test_elastic_horovod_finds_who_answers() -> None:
    job = job_of(launcher="horovodrun", numNodes=2, numProcPerNode=2, elasticPolicy=ELASTIC)
    files = files_of(job)
    assert "gang.py hosts" in files["discover_hosts.sh"]
    mode = volume_of(pod_of(job), "/etc/slipway")["configMap"]["defaultMode"]  # type: ignore[index]
    assert mode == 0o555
    said = " ".join(container_of(job, 0)["command"])
    assert "horovodrun --gloo -np 4 --min-np 2 --max-np 6" in said
    assert "--host-discovery-script /etc/slipway/discover_hosts.sh" in said
    assert env_of(job)["SLIPWAY_GANG_SERVICE"] == "j-nodes.team.svc"
    assert env_of(job)["SLIPWAY_GANG_LEAST"] == "1"


FILE, SSH = "/etc/slipway/hostfile", "/etc/slipway/ssh"
DIALECTS = {
    "OpenMPI": (
        f"{N0} slots=4\n{N1} slots=4\n",
        {
            "OMPI_MCA_orte_default_hostfile": FILE,
            "OMPI_MCA_plm_rsh_agent": SSH,
            "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
            "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
        },
    ),
    "Intel": (
        f"{N0}:4\n{N1}:4\n",
        {
            "I_MPI_HYDRA_HOST_FILE": FILE,
            "I_MPI_PERHOST": "4",
            "I_MPI_HYDRA_BOOTSTRAP": "ssh",
            "I_MPI_HYDRA_BOOTSTRAP_EXEC": SSH,
        },
    ),
    "MPICH": (f"{N0}:4\n{N1}:4\n", {"HYDRA_HOST_FILE": FILE, "HYDRA_LAUNCHER": "ssh", "HYDRA_LAUNCHER_EXEC": SSH}),
}


@pytest.mark.parametrize("implementation", DIALECTS)
def test_mpi_dialects(implementation: str) -> None:
    job = job_of(launcher="mpirun", numNodes=2, trainer=GPUS, mpi={"implementation": implementation})
    hostfile, variables = DIALECTS[implementation]
    assert files_of(job)["hostfile"] == hostfile
    env = env_of(job)
    assert variables.items() <= env.items()
    others = set().union(*(names for _, names in DIALECTS.values())) - variables.keys()
    assert not others & env.keys()
    assert (env["MASTER_ADDR"], env["MASTER_PORT"]) == (N0, "29500")
    assert container_of(job, 0)["command"][-5:] == ["mpirun", "-n", "8", "python", "train.py"]
    assert container_of(job, 1)["command"] == ["python3", "/etc/slipway/gang.py", "serve"]


def test_an_image_that_calls_mpirun_itself_is_left_to_do_so() -> None:
    job = job_of(launcher="mpirun", numNodes=2, trainer={"command": ["mpirun", "--bind-to", "none", "x"]})
    assert container_of(job)["command"][3:] == ["mpirun", "--bind-to", "none", "x"]


@pytest.mark.parametrize(("port", "agents"), [(29500, "29501"), (65535, "65534")])
def test_the_agents_have_a_port_of_their_own(port: int, agents: str) -> None:
    assert env_of(job_of(launcher="mpirun", numNodes=2, torch={"masterPort": port}))["SLIPWAY_GANG_PORT"] == agents


def test_the_key_is_drawn_once_and_never_again() -> None:
    job = job_of(launcher="mpirun", numNodes=2)
    for attempt in (0, 3):
        writes = TrainingGang(job, PLATFORM).writes([0, 1], attempt, first=True)
        (key,) = [write for write in writes if write.resource is SECRETS]
        assert (key.drawn, key.replace) == (("key",), False)
        assert "data" not in key.manifest
        assert "stringData" not in key.manifest
    mounted = volume_of(pod_of(job), "/var/run/secrets/slipway.dev/gang")
    assert mounted is not None
    # Whatever user the image has reads it: a Secret's files belong to root.
    assert mounted["secret"] == {"secretName": "j-gang-uid-1", "defaultMode": 0o444}
    assert not [w for w in TrainingGang(job_of(), PLATFORM).writes([0], 0, first=True) if w.resource is SECRETS]
