"""TrainingJob v1alpha1: its spec, its status and what makes a spec wrong."""

import json
import re
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from slipway.api.common import uris
from slipway.api.common.base import MapBy, Model, Rule, problems_of
from slipway.api.common.containers.env import EnvFroms, EnvVar, Words, bounded
from slipway.api.common.kind import OBJECT_NAME, Column, Kind, Scale, condition_column, unseen_status
from slipway.api.common.pod import PodSettings
from slipway.api.common.resources import Resources
from slipway.api.common.scheduling import Preemption, Scheduling
from slipway.api.common.types import AbsolutePath, ImageName, RunPolicy, same
from slipway.api.common.volumes import SharedMemory
from slipway.api.training.elastic import ELASTIC_RULES, MAX_NODES, ElasticPolicy, SuccessPolicy, TrainingFailurePolicy
from slipway.api.training.fine_tuning.peft import MERGE_NEEDS_PEFT
from slipway.api.training.foreign_queues import ONE_LINE
from slipway.api.training.launchers import AUTO, RAY_RULES, DeepSpeed, Launcher, LauncherName, Mpi, ProcCount
from slipway.api.training.learning.optimizer import WHOLE_PARAMETERS
from slipway.api.training.learning.tracking import Tracking
from slipway.api.training.network import Network
from slipway.api.training.parallel import OWN_WAY
from slipway.api.training.recipe import Checkpoint, Output, Recipe
from slipway.api.training.runtime_ref import RuntimeRef
from slipway.api.training.status import TrainingJobStatus
from slipway.api.training.strategy import Strategy

# `<job>-node-<index>-a<attempt>` must stay a DNS label of 63 characters: 6 for `-node-`, 6 for `-a` and four digits.
NAME_BUDGET = 63 - 6 - 6
# An elastic node that was lost is replaced by one of a new number, so these may have four digits from the start.
ELASTIC_DIGITS = 4

# What the running pods were made from: fixed for good, or until the job is suspended.
FIXED_FIELDS = (
    "launcher", "trainer", "recipe", "output", "checkpoint", "torch", "elasticPolicy", "deepspeed", "mpi",
    "strategy", "network", "tracking", "runtimeRef",
)  # fmt: skip
FIXED_WHILE_RUNNING = ("numNodes", "numProcPerNode", "pod", "sharedMemory", "scheduling")


class Trainer(Model):
    """The container that each node runs."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.command) || size(self.command) == 0 || size(self.command[0]) > 0",
            "command starts with an empty word: name the program first",
            lambda trainer: not trainer.command or trainer.command[0] != "",
        ),
        bounded("command", "args"),
    )
    image: ImageName | None = Field(None, description="The trainer image of this Slipway release when unset.")
    command: Words = Field(
        default_factory=list,
        description="What each process runs, started by the launcher; not together with spec.recipe.",
    )
    args: Words = Field(default_factory=list, description="Arguments of the command.")
    env: Annotated[list[EnvVar], Field(max_length=128), MapBy("name")] = Field(
        default_factory=list, description="The container's environment beside what the launcher sets."
    )
    env_from: EnvFroms = Field(
        default_factory=list, description="Variables from whole ConfigMaps and Secrets; those of env win over them."
    )
    working_dir: AbsolutePath | None = Field(None, description="The image's own when unset.")
    resources_per_node: Resources = Field(default_factory=Resources, description="What each pod asks of its node.")


class Torch(Model):
    """torch.distributed's own settings."""

    master_port: Annotated[int, Field(ge=1024, le=65535)] = Field(29500, description="Where node 0 listens.")


def _fixed(field: str) -> Rule:
    return Rule(same(field), f"{field} cannot be changed: delete the job and create it again")


def _fixed_while_running(field: str) -> Rule:
    free = "oldSelf.runPolicy.suspend" + (" || has(self.elasticPolicy)" if field == "numNodes" else "")
    return Rule(
        f"{free} || ({same(field)})",
        f"{field} can be changed only while the job is suspended: set runPolicy.suspend first",
    )


def _batch_divides(spec: "TrainingJobSpec") -> bool:
    """The launcher checks `auto`, once it is a number."""
    if spec.recipe is None or (spec.launcher != LauncherName.PLAIN and spec.num_proc_per_node == AUTO):
        return True
    processes = 1 if spec.launcher == LauncherName.PLAIN else int(spec.num_proc_per_node)
    shares = spec.recipe.global_batch_size * spec.recipe.together
    return shares % (spec.num_nodes * processes * spec.recipe.gradient_accumulation_steps) == 0


def _checkpoint_apart(spec: "TrainingJobSpec") -> bool:
    return (
        spec.output is None
        or spec.checkpoint is None
        or not f"{spec.checkpoint.uri}/".startswith(f"{spec.output.uri}/")
    )


def _local(uri: str) -> bool:
    return re.fullmatch(uris.LOCAL_URI, uri) is not None


class TrainingJobSpec(Model):
    """The training to run, the number of nodes to run it on, and what to do when something fails."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.recipe) != (has(self.trainer.command) && size(self.trainer.command) > 0)",
            "set exactly one of recipe (the built-in trainer) and trainer.command (your own)",
            lambda spec: (spec.recipe is not None) != bool(spec.trainer.command),
        ),
        Rule(
            "!has(self.recipe) || !has(self.trainer.args) || size(self.trainer.args) == 0",
            "trainer.args belongs to trainer.command: remove args or the recipe",
            lambda spec: spec.recipe is None or not spec.trainer.args,
        ),
        Rule(
            f"!has(self.output) || has(self.recipe) || self.output.uri.matches('{uris.LOCAL_URI}')",
            "output.uri of a command of your own is a folder on a claim, pvc://claim/path: it is given to the command "
            "as SLIPWAY_OUTPUT_DIR",
            lambda spec: spec.output is None or spec.recipe is not None or _local(spec.output.uri),
        ),
        Rule(
            "!has(self.output) || !has(self.checkpoint)"
            " || !(self.checkpoint.uri + '/').startsWith(self.output.uri + '/')",
            "checkpoint.uri lies in output.uri, which is replaced as a whole: choose two folders side by side",
            _checkpoint_apart,
        ),
        Rule(
            "self.launcher != 'plain' || (type(self.numProcPerNode) == string"
            " ? self.numProcPerNode in ['auto', '1'] : self.numProcPerNode == 1)",
            "the plain launcher starts one process per node: set numProcPerNode to 1, or launcher to torchrun",
            lambda spec: spec.launcher != LauncherName.PLAIN or spec.num_proc_per_node in (AUTO, 1),
        ),
        Rule(
            "!has(self.recipe) || (self.launcher != 'plain' && type(self.numProcPerNode) == string"
            " && self.numProcPerNode == 'auto') || self.recipe.globalBatchSize"
            " * self.recipe.tensorParallel * self.recipe.pipelineParallel"
            " % (self.numNodes * (self.launcher == 'plain' ? 1 : int(self.numProcPerNode))"
            " * self.recipe.gradientAccumulationSteps) == 0",
            "recipe.globalBatchSize must be a multiple of numNodes x numProcPerNode x gradientAccumulationSteps",
            _batch_divides,
        ),
        *ELASTIC_RULES,
        *ONE_LINE,
        *RAY_RULES,
        OWN_WAY,
        MERGE_NEEDS_PEFT,
        *WHOLE_PARAMETERS,
        uris.in_shipped_images(
            lambda spec: spec.trainer.image or (spec.runtime_ref and "the runtime's"), "recipe", "output", "checkpoint"
        ),
        Rule(
            "!has(self.deepspeed) || self.launcher == 'deepspeed'",
            "deepspeed belongs to launcher deepspeed: set launcher, or remove it",
            lambda spec: spec.deepspeed is None or spec.launcher == LauncherName.DEEPSPEED,
        ),
        Rule(
            "!has(self.mpi) || self.launcher == 'mpirun'",
            "mpi belongs to launcher mpirun: set launcher, or remove it",
            lambda spec: spec.mpi is None or spec.launcher == LauncherName.MPIRUN,
        ),
        Rule(
            "!has(self.scheduling.preemption) || self.scheduling.preemption == 'Never'"
            " || has(self.pod.priorityClassName)",
            "scheduling.preemption PriorityClass needs pod.priorityClassName: set it, or remove preemption",
            lambda spec: spec.scheduling.preemption is Preemption.NEVER or spec.pod.priority_class_name is not None,
        ),
        *(_fixed(field) for field in FIXED_FIELDS),
        *(_fixed_while_running(field) for field in FIXED_WHILE_RUNNING),
    )
    launcher: Launcher = Field(
        LauncherName.TORCHRUN.value,
        description="What starts a node's processes: torchrun, deepspeed, horovodrun, mpirun, ray, plain, DOMAIN/NAME",
    )
    num_nodes: Annotated[int, Field(ge=1, le=MAX_NODES)] = Field(1, description="Pods of the gang, one per node.")
    num_proc_per_node: ProcCount = Field(
        AUTO,
        description="Processes per node: a number, or auto = the accelerators asked for, else the CPUs of the limit.",
    )
    runtime_ref: RuntimeRef | None = Field(
        None, description="A runtime of the platform, for what the job leaves unset."
    )
    trainer: Trainer = Field(default_factory=Trainer, description="The container that each node runs.")
    recipe: Recipe | None = Field(None, description="What the built-in trainer trains.")
    output: Output | None = Field(
        None, description="Where the trained artifact goes; a command of your own gets it as SLIPWAY_OUTPUT_DIR."
    )
    checkpoint: Checkpoint | None = Field(
        None,
        description="Where the state is saved, so that a restart goes on where it was; as SLIPWAY_CHECKPOINT_DIR.",
    )
    tracking: Tracking | None = Field(None, description="Where the run's figures go beside its artifact.")
    elastic_policy: ElasticPolicy | None = Field(
        None, description="Lets the job go on with fewer nodes, and numNodes be changed while it runs."
    )
    deepspeed: DeepSpeed | None = Field(None, description="DeepSpeed's settings, for launcher deepspeed.")
    strategy: Strategy | None = Field(None, description="How the model's state is spread over processes.")
    mpi: Mpi | None = Field(None, description="mpirun's settings, for launcher mpirun.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="When the gang starts, and before whom.")
    torch: Torch = Field(default_factory=Torch, description="torch.distributed's own settings.")
    network: Network = Field(default_factory=Network, description="How the pods reach each other.")
    pod: PodSettings = Field(default_factory=PodSettings, description="What the pods share beside their container.")
    shared_memory: SharedMemory = Field(
        default_factory=SharedMemory, description="The pods' /dev/shm: for several processes, loaders or any GPU."
    )
    run_policy: RunPolicy = Field(default_factory=RunPolicy, description="When the job runs and what is left of it.")
    failure_policy: TrainingFailurePolicy = Field(
        default_factory=TrainingFailurePolicy, description="What a failed pod means."
    )
    success_policy: SuccessPolicy = Field(
        SuccessPolicy.ALL, description="Which pods must succeed: All, Rank0 (node 0) or Any; the others are ended."
    )


def name_problems(name: str, num_nodes: int, *, elastic: bool = False) -> list[str]:
    """Check that pods, Service and labels can be named after the job. Returns every problem in words."""
    longest = NAME_BUDGET - (ELASTIC_DIGITS if elastic else len(str(num_nodes - 1)))
    problems = []
    if not re.fullmatch(OBJECT_NAME, name):
        problems.append(
            "metadata.name: the pods' DNS names hold it: use lower case letters, digits and '-', a letter first"
        )
    if len(name) > longest:
        problems.append(
            f"metadata.name: {len(name)} characters, but the pod names of {num_nodes} nodes leave {longest}: shorten it"
        )
    return problems


def spec_problems(name: str, spec: dict[str, Any]) -> tuple[TrainingJobSpec | None, list[str]]:
    """Parse a spec as the API server gave it. Returns the model, or None and every problem in words."""
    try:
        # Strict, as the API server is: "2" is no integer and 1 is no boolean.
        parsed = TrainingJobSpec.model_validate_json(json.dumps(spec), strict=True)
    except ValidationError as error:
        return None, problems_of(error)
    problems = name_problems(name, parsed.num_nodes, elastic=parsed.elastic_policy is not None)
    return (None, problems) if problems else (parsed, [])


KIND = Kind(
    kind="TrainingJob",
    plural="trainingjobs",
    singular="trainingjob",
    short="tj",
    description="Trains a model with one gang of pods across nodes, until its artifact is written.",
    spec=TrainingJobSpec,
    status=TrainingJobStatus,
    default_status=unseen_status(),
    scale=Scale(".spec.numNodes", ".status.nodes", ".status.selector"),
    name_length=NAME_BUDGET - 1,
    rules=(
        Rule(
            f"size(self.metadata.name) <= {NAME_BUDGET} - (has(self.spec.elasticPolicy) ? {ELASTIC_DIGITS}"
            " : size(string(self.spec.numNodes - 1)))",
            "metadata.name is too long for the names of so many pods: at most 50 characters for up to 10 nodes, "
            "49 for up to 100, 48 for up to 1000, 47 for elastic jobs",
        ),
    ),
    columns=(
        condition_column(
            "Ready",
            "Ready",
            "status",
            description="True once it has succeeded, False where it failed or cannot go on, else Unknown",
        ),
        condition_column("Reason", "Ready", "reason", description="Why the job is or is not ready"),
        Column("Nodes", ".spec.numNodes", "integer", description="Pods of the gang"),
        Column("Progress", ".status.progress.percent", "integer", description="Percent of the training that is done"),
        Column("Restarts", ".status.restartCount", "integer", description="Restarts of the whole gang"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column(
            "Disruptions",
            ".status.disruptionCount",
            "integer",
            priority=1,
            description="Those of the restarts that came of evictions and the like",
        ),
        Column("Launcher", ".spec.launcher", priority=1),
        Column("Image", ".spec.trainer.image", priority=1),
        Column("Runtime", ".spec.runtimeRef.name", priority=1),
        Column("Artifact", ".status.artifact.uri", priority=1, description="Where the trained model lies"),
    ),
)
