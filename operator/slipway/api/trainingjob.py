"""TrainingJob v1alpha1: its spec, its status and what makes a spec wrong."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationError, WithJsonSchema, model_validator

from slipway.api.common import (
    MAX_INT32,
    AbsolutePath,
    Condition,
    Count,
    Digest,
    FailurePolicy,
    ImageName,
    Model,
    Quantity,
    Rule,
    RunPolicy,
    ShortText,
    StatusModel,
    Text,
    Time,
    problem_text,
)
from slipway.api.kind import Column, Kind, Scale, condition_column, unseen_status
from slipway.api.pod import EnvVar, PodSettings, Resources, Words
from slipway.api.recipe import Checkpoint, Output, Recipe

# `<job>-node-<index>-a<attempt>` must stay a DNS label of 63 characters: 6 for `-node-`, 6 for `-a` and four digits.
NAME_BUDGET = 63 - 6 - 6

RESERVED_ENV = frozenset(
    {
        "WORLD_SIZE",
        "RANK",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "ROLE_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
    }
)
RESERVED_ENV_PREFIXES = ("PET_", "TORCHELASTIC_", "KUBEFLOW_TRAINER_", "SLIPWAY_")


# What the running pods were made from: fixed for good, or until the job is suspended.
FIXED_FIELDS = ("launcher", "trainer", "recipe", "output", "checkpoint", "torch")
FIXED_WHILE_RUNNING = ("numNodes", "numProcPerNode", "pod", "sharedMemory")

ProcCount = Annotated[
    int | str,
    Field(union_mode="left_to_right"),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": "^(auto|[1-9][0-9]{0,3})$"}),
]


class LauncherName(StrEnum):
    """What starts the processes of a node."""

    TORCHRUN = "torchrun"
    PLAIN = "plain"


class Trainer(Model):
    """The container that each node runs."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.env) || self.env.all(e, !(e.name in ["
            + ", ".join(f"'{name}'" for name in sorted(RESERVED_ENV))
            + "]) && "
            + " && ".join(f"!e.name.startsWith('{prefix}')" for prefix in RESERVED_ENV_PREFIXES)
            + ")",
            "env holds a name that the launcher sets itself (PET_*, WORLD_SIZE, RANK, MASTER_ADDR, ...): remove it",
        ),
    )
    image: ImageName | None = Field(None, description="The trainer image of this Slipway release when unset.")
    command: Words = Field(
        default_factory=list,
        description="What each process runs, started by the launcher; not together with spec.recipe.",
    )
    args: Words = Field(default_factory=list)
    env: Annotated[
        list[EnvVar],
        Field(
            max_length=128, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default_factory=list)
    working_dir: AbsolutePath | None = None
    resources_per_node: Resources = Field(default_factory=Resources)

    @model_validator(mode="after")
    def _env(self) -> Self:
        for env in self.env:
            if env.name in RESERVED_ENV or env.name.startswith(RESERVED_ENV_PREFIXES):
                raise ValueError(f"env {env.name} is set by the launcher itself: remove it")
        return self


class Torch(Model):
    """torchrun's own settings."""

    master_port: Annotated[int, Field(ge=1024, le=65535)] = 29500


class SharedMemory(Model):
    """/dev/shm, which data loaders and NCCL use between the processes of a node."""

    size_limit: Quantity | None = Field(None, description="No limit but the container's memory when unset.")


def _same(field: str) -> str:
    return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"


def _fixed(field: str) -> Rule:
    return Rule(_same(field), f"{field} cannot be changed: delete the job and create it again")


def _fixed_while_running(field: str) -> Rule:
    return Rule(
        f"oldSelf.runPolicy.suspend || ({_same(field)})",
        f"{field} can be changed only while the job is suspended: set runPolicy.suspend first",
    )


class TrainingJobSpec(Model):
    """What to train, on how many nodes, and what to do when something fails."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.recipe) != (has(self.trainer.command) && size(self.trainer.command) > 0)",
            "set exactly one of recipe (the built-in trainer) and trainer.command (your own)",
        ),
        Rule(
            "!has(self.recipe) || !has(self.trainer.args) || size(self.trainer.args) == 0",
            "trainer.args belongs to trainer.command: remove args or the recipe",
        ),
        Rule(
            "!has(self.output) || has(self.recipe)",
            "output is written by the built-in trainer: set recipe, or mount a volume for your own trainer",
        ),
        Rule(
            "!has(self.checkpoint) || has(self.recipe)",
            "checkpoint is done by the built-in trainer: set recipe, or mount a volume for your own trainer",
        ),
        *(_fixed(field) for field in FIXED_FIELDS),
        *(_fixed_while_running(field) for field in FIXED_WHILE_RUNNING),
    )
    launcher: LauncherName = LauncherName.TORCHRUN
    num_nodes: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="Pods of the gang, one per node.")
    num_proc_per_node: ProcCount = Field(
        "auto",
        description="Processes per node: a number, or auto = the accelerators asked for, else the whole CPUs of the limit.",
    )
    trainer: Trainer = Field(default_factory=Trainer)
    recipe: Recipe | None = Field(None, description="What the built-in trainer trains.")
    output: Output | None = Field(None, description="Where the trained artifact goes.")
    checkpoint: Checkpoint | None = Field(
        None, description="Where the state is saved, so that a restart or a resume goes on where it was."
    )
    torch: Torch = Field(default_factory=Torch)
    pod: PodSettings = Field(default_factory=PodSettings)
    shared_memory: SharedMemory = Field(default_factory=SharedMemory)
    run_policy: RunPolicy = Field(default_factory=RunPolicy)
    failure_policy: FailurePolicy = Field(default_factory=FailurePolicy)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        own = bool(self.trainer.command)
        if (self.recipe is not None) == own:
            raise ValueError("set exactly one of recipe (the built-in trainer) and trainer.command (your own)")
        if self.recipe is not None and self.trainer.args:
            raise ValueError("trainer.args belongs to trainer.command: remove args or the recipe")
        if self.recipe is None and self.output is not None:
            raise ValueError(
                "output is written by the built-in trainer: set recipe, or mount a volume for your own trainer"
            )
        if self.recipe is None and self.checkpoint is not None:
            raise ValueError(
                "checkpoint is done by the built-in trainer: set recipe, or mount a volume for your own trainer"
            )
        return self


class ReplicaStatus(StatusModel):
    """How many pods of the current attempt are in which state."""

    desired: Count = 0
    active: Count = 0
    ready: Count = 0
    succeeded: Count = 0
    failed: Count = 0


class LastFailure(StatusModel):
    """What ended the last attempt that failed."""

    pod: Annotated[str, Field(max_length=253)]
    node: Annotated[str, Field(max_length=253)] = ""
    container: Annotated[str, Field(max_length=63)] = ""
    exit_code: Annotated[int, Field(ge=-(2**31), le=MAX_INT32)] | None = None
    signal: Annotated[str, Field(max_length=16)] = ""
    reason: ShortText
    message: Text = ""
    time: Time
    attempt: Count


class Metric(StatusModel):
    """A figure by name; the value is text so that no digit is lost."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    value: Annotated[str, Field(max_length=64)]


Metrics = Annotated[
    list[Metric],
    Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
]


class Progress(StatusModel):
    """How far the training is, as its rank 0 last said."""

    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    step: Count | None = None
    total_steps: Count | None = None
    estimated_remaining_seconds: Count | None = None
    metrics: Metrics = Field(default_factory=list)
    last_updated_time: Time | None = None


class ArtifactStatus(StatusModel):
    """The trained model: where it lies, its digest and its held-out figures."""

    uri: Annotated[str, Field(max_length=1024)]
    digest: Digest
    metrics: Metrics = Field(default_factory=list)


class TrainingJobStatus(StatusModel):
    """What the operator knows of the job. It is the only writer."""

    observed_generation: Annotated[int, Field(ge=-1, le=2**53)] | None = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = Field(default_factory=list)
    spec_digest: Digest | None = Field(None, description="Of the spec that the current attempt's pods were made from.")
    attempt: Count = Field(0, description="Number of the current gang of pods; it is in their names.")
    restart_count: Count = Field(0, description="Restarts after failures, all causes.")
    restart_count_towards_max: Count = Field(0, description="Restarts that count against failurePolicy.maxRestarts.")
    start_time: Time | None = None
    attempt_time: Time | None = Field(None, description="When the current attempt's pods were asked for.")
    running_time: Time | None = Field(None, description="When all pods of the current attempt were running.")
    active_seconds: Count = Field(0, description="Running time of the attempts before, for activeDeadlineSeconds.")
    completion_time: Time | None = None
    nodes: Count | None = Field(None, description="Pods of the current attempt that are there.")
    selector: Annotated[str, Field(max_length=512)] | None = None
    last_failure: LastFailure | None = None
    replica_statuses: ReplicaStatus | None = None
    progress: Progress | None = None
    artifact: ArtifactStatus | None = None


def spec_problems(name: str, spec: dict[str, Any]) -> tuple[TrainingJobSpec | None, list[str]]:
    """Parse a spec as the API server gave it. Returns the model, or None and every problem in words."""
    try:
        parsed = TrainingJobSpec.model_validate(spec)
    except ValidationError as error:
        return None, [problem_text(problem["loc"], problem["msg"]) for problem in error.errors()]
    longest = NAME_BUDGET - len(str(parsed.num_nodes - 1))
    if len(name) > longest:
        return None, [
            f"metadata.name: {len(name)} characters, and pod names of {parsed.num_nodes} nodes leave room for {longest}: shorten it"
        ]
    return parsed, []


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
            f"size(self.metadata.name) <= {NAME_BUDGET} - size(string(self.spec.numNodes - 1))",
            "metadata.name is too long for the names of this many pods: at most 50 characters up to 10 nodes, 49 up to 100, 48 up to 1000",
        ),
    ),
    columns=(
        condition_column(
            "Ready", "Ready", "status", description="True while all pods run, and once the job has succeeded"
        ),
        condition_column("Reason", "Ready", "reason", description="Why the job is or is not ready"),
        Column("Nodes", ".spec.numNodes", "integer", description="Pods of the gang"),
        Column("Progress", ".status.progress.percent", "integer", description="Percent of the training that is done"),
        Column("Restarts", ".status.restartCount", "integer", description="Restarts of the whole gang"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Launcher", ".spec.launcher", priority=1),
        Column("Image", ".spec.trainer.image", priority=1),
        Column("Artifact", ".status.artifact.uri", priority=1, description="Where the trained model lies"),
    ),
)
