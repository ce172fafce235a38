"""TrainingJobs that are right, and every way we know to get one wrong, with the words that the user must be told."""

import copy
from typing import Any, NamedTuple

from tests.unit.train.learning import LEARNING

Object = dict[str, Any]

RECIPE: Object = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "globalBatchSize": 64}
BUILT_IN: Object = {"numNodes": 2, "numProcPerNode": 1, "recipe": RECIPE}
FOLDERS: Object = {"output": {"uri": "pvc://artifacts/x"}, "checkpoint": {"uri": "pvc://artifacts/x-checkpoints"}}
FULL: Object = {**BUILT_IN, **FOLDERS}
OWN: Object = {"numNodes": 2, "trainer": {"image": "example.com/train:1", "command": ["python", "train.py"]}}


def merged(base: Object, patch: Object) -> Object:
    """JSON merge patch (RFC 7386): None removes."""
    result = copy.deepcopy(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def job(spec: Object, name: str = "digits") -> Object:
    """A TrainingJob around a spec."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": copy.deepcopy(spec),
    }


class Wrong(NamedTuple):
    """A way to get a TrainingJob wrong."""

    name: str
    patch: Object
    words: str
    """What the reconcile's message must hold."""
    by: str = "schema"
    """Place of the refusal: `schema` (every server), `cel` (1.25 and later), `operator` (only the reconcile)."""
    base: Object = BUILT_IN
    job_name: str = "digits"

    @property
    def spec(self) -> Object:
        """The wrong spec."""
        return merged(self.base, self.patch)

    @property
    def manifest(self) -> Object:
        """The wrong object."""
        return job(self.spec, self.job_name)


def _trainer(**fields: Any) -> Object:
    return {"trainer": fields}


def _limits(**limits: Any) -> Object:
    return _trainer(resourcesPerNode={"limits": limits})


def _data(**fields: Any) -> Object:
    return {"recipe": {"dataset": fields}}


def _pod(**fields: Any) -> Object:
    return {"pod": fields}


def _volume(**fields: Any) -> Object:
    return _pod(volumes=[{"name": "data", **fields}])


def _mount(path: str, **fields: Any) -> Object:
    return _pod(
        volumes=[{"name": "data", "emptyDir": {}}], volumeMounts=[{"name": "data", "mountPath": path, **fields}]
    )


def _affinity(**requirement: Any) -> Object:
    terms = [{"matchExpressions": [requirement]}]
    return _pod(
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    )


def _rule(**fields: Any) -> Object:
    return {"failurePolicy": {"rules": [fields]}}


def _zero(**fields: Any) -> Object:
    return {"launcher": "deepspeed", "deepspeed": fields}


_NAMES = [
    Wrong("name too long for its pods", {}, "shorten it", "cel", merged(BUILT_IN, {"numNodes": 32}), "a" * 50),
    Wrong("elastic name too long", {"elasticPolicy": {"maxNodes": 2}}, "shorten it", "cel", BUILT_IN, "a" * 48),
    Wrong("name too long", {}, "shorten it", job_name="a" * 51),
    Wrong("name starts with a digit", {}, "metadata.name", job_name="1st"),
    Wrong("name with a dot", {}, "metadata.name", job_name="a.b"),
]

_SIZES = [
    Wrong("no nodes", {"numNodes": 0}, "numNodes: Input should be greater than or equal to 1"),
    Wrong("too many nodes", {"numNodes": 1001}, "less than or equal to 1000"),
    Wrong("nodes as text", {"numNodes": "2"}, "numNodes: Input should be a valid integer"),
    Wrong("no processes", {"numProcPerNode": 0}, "must be auto or a number from 1 to 999"),
    Wrong("processes in words", {"numProcPerNode": "gpu"}, "must be auto or a number"),
    Wrong("a fraction of a process", {"numProcPerNode": 1.5}, "must be auto or a number"),
    Wrong(
        "several processes without launcher", {"launcher": "plain", "numProcPerNode": 2}, "launcher to torchrun", "cel"
    ),
    Wrong("unknown launcher", {"launcher": "mpi"}, "launcher: String should match pattern"),
    Wrong("elastic bounds", {"elasticPolicy": {"minNodes": 3, "maxNodes": 2}}, "minNodes is above maxNodes", "cel"),
    Wrong("outside elastic bounds", {"elasticPolicy": {"minNodes": 3, "maxNodes": 4}}, "numNodes is outside", "cel"),
    Wrong("elastic without end", {"elasticPolicy": {"minNodes": 1}}, "elasticPolicy.maxNodes: required"),
    Wrong(
        "elastic deepspeed",
        {"launcher": "deepspeed", "elasticPolicy": {"maxNodes": 2}},
        "is for launcher torchrun, horovodrun or ray",
        "cel",
    ),
    Wrong("restart of a pod", {"failurePolicy": {"restartScope": "Pod"}}, "set elasticPolicy", "cel"),
    Wrong("deepspeed for another", {"deepspeed": {"zeroStage": 1}}, "deepspeed belongs to launcher", "cel"),
    Wrong("mpi for another", {"mpi": {"implementation": "MPICH"}}, "mpi belongs to launcher mpirun", "cel"),
    Wrong("zero stage 4", _zero(zeroStage=4), "zeroStage: Input should be less than or equal to 3"),
    Wrong("parameters offloaded", _zero(zeroStage=2, offloadParam={"device": "cpu"}), "set zeroStage to 3", "cel"),
    Wrong("optimizer offloaded", _zero(offloadOptimizer={"device": "cpu"}), "set zeroStage to 1, 2 or 3", "cel"),
    Wrong(
        "disk without path", _zero(zeroStage=3, offloadParam={"device": "nvme"}), "nvmePath belongs to device", "cel"
    ),
    Wrong(
        "priority of nobody", {"scheduling": {"gang": "None", "priority": 3}}, "orders this operator's own line", "cel"
    ),
    Wrong("queue of nobody", {"scheduling": {"queue": "q"}}, "queue is Kueue's or Volcano's", "cel"),
    Wrong("Kueue without queue", {"scheduling": {"gang": "Kueue"}}, "set queue to a LocalQueue", "cel"),
    Wrong("auto without a model", {"strategy": {}}, "set strategy.model", "cel"),
    Wrong("batch does not divide", {"numProcPerNode": 3}, "globalBatchSize must be a multiple", "cel"),
    Wrong("batch does not divide, as text", {"numProcPerNode": "3"}, "globalBatchSize must be a multiple", "cel"),
    Wrong("accumulation", {"recipe": {"gradientAccumulationSteps": 5}}, "globalBatchSize must be a multiple", "cel"),
    Wrong("plain batch", {"launcher": "plain", "numNodes": 3}, "globalBatchSize must be a multiple", "cel"),
]

_WHAT = [
    Wrong("nothing to train", {"recipe": None}, "set exactly one of recipe", "cel"),
    Wrong("two things to train", _trainer(command=["python"]), "set exactly one of recipe", "cel"),
    Wrong("args of nothing", _trainer(args=["--lr=1"]), "trainer.args belongs to trainer.command", "cel"),
    Wrong("empty command", _trainer(command=[""]), "name the program first", "cel", OWN),
    Wrong("output of one's own trainer", {"output": {"uri": "s3://a/b"}}, "is a folder on a claim", "cel", OWN),
    Wrong("words that no ConfigMap holds", _trainer(args=["x" * 130_000] * 7), "characters together", "cel", OWN),
    Wrong("a word that no kernel takes", _trainer(args=["x" * 130_001]), "at most 130000 characters", base=OWN),
    Wrong("image with a space", _trainer(image="my image"), "trainer.image: String should match pattern"),
    Wrong("relative working directory", _trainer(workingDir="src"), "workingDir: String should match", base=OWN),
    Wrong("unknown model", {"recipe": {"model": {"name": "gpt"}}}, "'cnn', 'resnet18', 'resnet50'"),
    Wrong(
        "a step with a teacher of its own",
        {"recipe": {"compression": [{"method": "distillation"}]}},
        "set distillation beside compression",
        "cel",
    ),
    Wrong("no data", {"recipe": {"dataset": None}}, "recipe.dataset: required: set it"),
    Wrong("unknown data", _data(name="mnist"), "recipe.dataset.name: Input should be 'digits'"),
    Wrong("data from nowhere", _data(name="cifar10"), "set uri", "cel"),
    Wrong("data by a bare path", _data(uri="/data"), "dataset.uri: String should match pattern"),
    Wrong("data of a moving revision", _data(uri="hf://owner/name"), "pin the revision", "cel"),
    Wrong("data outside its claim", _data(uri="pvc://claim/../x"), "must not contain '..'", "cel"),
    Wrong(
        "no learning", {"recipe": {"optimizer": {"learningRate": 0}}}, "learningRate: Input should be greater than 0"
    ),
    Wrong("no epochs", {"recipe": {"epochs": 0}}, "epochs: Input should be greater than or equal to 1"),
    Wrong("unknown precision", {"recipe": {"precision": "int8"}}, "'fp32', 'bf16' or 'fp16'"),
    Wrong("data by an unknown scheme", _data(uri="ftp://host/x"), "uri is pvc://claim/path, s3://", "cel"),
    Wrong("output cannot be written", {"output": {"uri": "https://example.com/x"}}, "must name a folder", "cel"),
    Wrong("output is the volume itself", {"output": {"uri": "pvc://claim"}}, "must name a folder", "cel"),
    Wrong("output without scheme", {"output": {"uri": "artifacts/x"}}, "output.uri: String should match"),
    Wrong("output outside its claim", {"output": {"uri": "pvc://c/../d"}}, "must not contain '..'", "cel"),
    Wrong(
        "checkpoints in the output",
        {"output": {"uri": "pvc://c/d"}, "checkpoint": {"uri": "pvc://c/d/ckpt"}},
        "choose two folders side by side",
        "cel",
    ),
    Wrong("never a checkpoint", {"checkpoint": {"uri": "pvc://c/d", "everySteps": 0}}, "everySteps: Input should be"),
]

_ENV = [
    Wrong(
        "reserved variable", _trainer(env=[{"name": "RANK", "value": "0"}]), "trainer.env[0]: the launcher sets", "cel"
    ),
    Wrong("reserved prefix", _trainer(env=[{"name": "PET_NNODES", "value": "1"}]), "remove it", "cel"),
    Wrong("variable twice", _trainer(env=[{"name": "A"}, {"name": "A"}]), "name A appears more than once"),
    Wrong("variable with a space", _trainer(env=[{"name": "A B"}]), "trainer.env[0].name: String should match"),
    Wrong(
        "two values",
        _trainer(env=[{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
        "set value or valueFrom, not both",
        "cel",
    ),
    Wrong(
        "value from nowhere",
        _trainer(env=[{"name": "A", "valueFrom": {}}]),
        "set exactly one of configMapKeyRef",
        "cel",
    ),
]

_RESOURCES = [
    Wrong("no quantity", _limits(memory="2 GB"), "'2 GB' is not an amount"),
    Wrong("negative quantity", _limits(cpu=-1), "-1 is not an amount"),
    Wrong("fraction without quotes", _limits(cpu=0.5), "0.5 is not an amount"),
    Wrong("gpu without domain", _limits(gpu=1), "write nvidia.com/gpu, not gpu", "cel"),
    Wrong("half a gpu", _limits(**{"nvidia.com/gpu": "500m"}), "whole numbers in limits", "operator"),
    Wrong("memory without unit", _limits(memory=2), "memory below 4Mi", "operator"),
    Wrong("thousandths of a byte", _limits(memory="512m"), "memory below 4Mi", "operator"),
    Wrong(
        "requests above limits",
        _trainer(resourcesPerNode={"limits": {"cpu": "500m"}, "requests": {"cpu": 1}}),
        "requests must not be above limits",
        "operator",
    ),
    Wrong(
        "gpu only in requests",
        _trainer(resourcesPerNode={"requests": {"nvidia.com/gpu": 1}}),
        "whole numbers in limits",
        "operator",
    ),
]

_VOLUMES = [
    Wrong("mount of no volume", _pod(volumeMounts=[{"name": "data", "mountPath": "/data"}]), "add the volume", "cel"),
    Wrong("volume of nothing", _volume(), "set exactly one of persistentVolumeClaim", "cel"),
    Wrong("volume of two things", _volume(emptyDir={}, configMap={"name": "x"}), "set exactly one of", "cel"),
    Wrong(
        "the operator's volume", _pod(volumes=[{"name": "slipway-job", "emptyDir": {}}]), "choose another name", "cel"
    ),
    Wrong(
        "volume twice",
        _pod(volumes=[{"name": "data", "emptyDir": {}}, {"name": "data", "emptyDir": {}}]),
        "name data appears more than once",
    ),
    Wrong("the operator's path", _mount("/etc/slipway/x"), "choose another one", "cel"),
    Wrong("the root as mount", _mount("/"), "choose another one", "cel"),
    Wrong("relative mount", _mount("data"), "mountPath: String should match"),
    Wrong("mount upwards", _mount("/data/../etc"), "must not contain '..'", "cel"),
    Wrong("folder upwards", _mount("/data", subPath="../x"), "must not contain '..'", "cel"),
    Wrong("volume's name in capitals", _pod(volumes=[{"name": "Data", "emptyDir": {}}]), "name: String should match"),
]

_POD = [
    Wrong("our label", _pod(labels={"slipway.dev/attempt": "7"}), "are set by the operator", "cel"),
    Wrong("our annotation", _pod(annotations={"slipway.dev/x": "7"}), "are set by the operator", "cel"),
    Wrong("label's key", _pod(labels={"a b": "7"}), "pod.labels.a b", "cel"),
    Wrong("label's value", _pod(labels={"a": "x y"}), "pod.labels.a: String should match"),
    Wrong("node label's key", _pod(nodeSelector={"-": "x"}), "pod.nodeSelector.-", "cel"),
    Wrong("root", _pod(runAsUser=0), "runAsUser: Input should be greater than or equal to 1"),
    Wrong(
        "value for Exists",
        _pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
        "takes no value",
        "cel",
    ),
    Wrong("toleration of all", _pod(tolerations=[{"value": "b"}]), "set key or operator", "cel"),
    Wrong(
        "seconds without effect",
        _pod(tolerations=[{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]),
        "needs effect NoExecute",
        "cel",
    ),
    Wrong("affinity In nothing", _affinity(key="a", operator="In"), "In and NotIn need values", "cel"),
    Wrong("affinity Gt text", _affinity(key="a", operator="Gt", values=["x"]), "Gt and Lt take one", "cel"),
]

_POLICIES = [
    Wrong("rule without criterion", _rule(action="FailJob"), "rules[0]: a failure rule needs at least one of", "cel"),
    Wrong("exit code 0", _rule(action="FailJob", onExitCodes={"values": [0]}), "values[0]: Input should be greater"),
    Wrong("no exit codes", _rule(action="FailJob", onExitCodes={"values": []}), "values: List should have at least 1"),
    Wrong("unknown action", _rule(action="Ignore", onReasons=["OOMKilled"]), "'FailJob', 'Restart'"),
    Wrong("negative budget", {"failurePolicy": {"maxRestarts": -1}}, "maxRestarts: Input should be greater"),
    Wrong("deadline at once", {"runPolicy": {"activeDeadlineSeconds": 0}}, "activeDeadlineSeconds: Input should be"),
    Wrong("suspend as text", {"runPolicy": {"suspend": "yes"}}, "suspend: Input should be a valid boolean"),
    Wrong("clean-up by whim", {"runPolicy": {"cleanPodPolicy": "Some"}}, "'None', 'Running' or 'All'"),
    Wrong("managed by nobody", {"runPolicy": {"managedBy": "kueue"}}, "managedBy: String should match"),
    Wrong("port of root", {"torch": {"masterPort": 80}}, "masterPort: Input should be greater than or equal to 1024"),
]

WRONG = [*_NAMES, *_SIZES, *(Wrong(*one) for one in LEARNING), *_WHAT, *_ENV, *_RESOURCES, *_VOLUMES, *_POD, *_POLICIES]
