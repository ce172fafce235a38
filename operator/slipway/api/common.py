"""What the kinds share: names, bounds, CEL rules, conditions, run and failure policies. Read by every module that validates."""

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

GROUP = "slipway.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_INT32 = 2**31 - 1
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
ShortText = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(max_length=1024)]
LongText = Annotated[str, Field(max_length=4096)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
AnnotationValue = Annotated[str, Field(max_length=4096)]
ImageName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
AbsolutePath = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/[^:]*$")]
Uri = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^(pvc|s3|hf|file|https|gs)://[^\s]+$")]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]
Seconds = Annotated[int, Field(ge=0, le=MAX_INT32)]
Count = Annotated[int, Field(ge=0, le=MAX_INT32)]
# An integer or a quantity such as 2500m or 16Gi, as the API server writes it.
Quantity = Annotated[
    int | str,
    Field(union_mode="left_to_right"),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY}),
]


class Rule(NamedTuple):
    """A CEL rule of the CRD; `message` says what to change. The models' validators refuse the same things, for servers without CEL."""

    rule: str
    message: str


class Model(BaseModel):
    """camelCase on the wire, snake_case in Python; an unknown field is an error and not a silent loss."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)
    cel: ClassVar[tuple[Rule, ...]] = ()

    def wire(self) -> dict[str, Any]:
        """As JSON for the API server: camelCase, without what was not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(Model):
    """A status may come from a newer operator: what is unknown here is kept out of the way and not refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Reason(StrEnum):
    """Every reason that a condition or an event can carry. Public API: documents and alerts name them."""

    PENDING = "Pending"
    INVALID_SPEC = "InvalidSpec"
    SPEC_CHANGED = "SpecChanged"
    NAME_CONFLICT = "NameConflict"
    CREATE_REFUSED = "CreateRefused"
    API_ERROR = "ApiError"
    RECONCILE_ERROR = "ReconcileError"
    PODS_CREATED = "PodsCreated"
    PODS_PENDING = "PodsPending"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_ERROR = "ImagePullError"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    STARTING = "Starting"
    ALL_PODS_RUNNING = "AllPodsRunning"
    RESTARTING = "Restarting"
    RESTARTED = "Restarted"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    SUCCEEDED = "Succeeded"
    MAX_RESTARTS_EXCEEDED = "MaxRestartsExceeded"
    FAILURE_RULE = "FailureRule"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
    # What ended a container or a pod (lastFailure.reason).
    ERROR = "Error"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    POD_DELETED = "PodDeleted"
    PREEMPTED = "Preempted"


class ConditionStatus(StrEnum):
    """Kubernetes' three-valued logic."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """KEP-1623's metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    status: ConditionStatus
    observed_generation: Annotated[int, Field(ge=-1, le=2**53)] | None = None
    last_transition_time: Time
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    message: Annotated[str, Field(max_length=32768)] = ""


class CleanPodPolicy(StrEnum):
    """Which pods are deleted once the job has finished; those that stay keep their logs."""

    NONE = "None"
    RUNNING = "Running"
    ALL = "All"


class RunPolicy(Model):
    """When a job may run, for how long, and what is left of it afterwards."""

    suspend: bool = Field(
        False,
        description="Stop the pods (after SIGTERM and their grace period) and wait; false resumes from the last checkpoint.",
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None, description="Fail the job after so much running time; time spent pending or suspended is not counted."
    )
    startup_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        None,
        description="Fail the job when its pods are not all running so long after they were asked for (unschedulable, image pull errors).",
    )
    ttl_seconds_after_finished: Seconds | None = Field(
        None, description="Delete the job and its pods so long after it has finished."
    )
    clean_pod_policy: CleanPodPolicy = Field(
        CleanPodPolicy.RUNNING, description="Which pods are deleted when the job finishes."
    )
    managed_by: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None,
        description="Another controller's name (kueue.x-k8s.io/multikueue): this operator then leaves the job alone.",
    )


class RuleAction(StrEnum):
    """What a failure rule does."""

    FAIL_JOB = "FailJob"
    RESTART = "Restart"
    RESTART_IGNORE_MAX_RESTARTS = "RestartIgnoreMaxRestarts"


class ExitCodeOperator(StrEnum):
    """How a failure rule compares exit codes."""

    IN = "In"
    NOT_IN = "NotIn"


class OnExitCodes(Model):
    """Exit codes of the container that failed first."""

    operator: ExitCodeOperator = ExitCodeOperator.IN
    values: list[Annotated[int, Field(ge=1, le=255)]] = Field(min_length=1, max_length=64)


class FailureRule(Model):
    """Matches when every criterion given matches."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.onExitCodes) || has(self.onReasons) || has(self.onPodConditions)",
            "a failure rule needs at least one of onExitCodes, onReasons, onPodConditions",
        ),
    )
    action: RuleAction
    on_exit_codes: OnExitCodes | None = None
    on_reasons: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(min_length=1, max_length=32)] | None
    ) = None
    on_pod_conditions: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(min_length=1, max_length=32)] | None
    ) = None


class FailurePolicy(Model):
    """What a failed pod means for the job: the whole gang restarts, within a budget that survives the operator."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = Field(
        3, description="Restarts of the whole gang before the job fails."
    )
    node_lost_grace_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        60,
        description="How long a pod on an unreachable node is waited for before it is deleted by force and the gang restarts.",
    )
    rules: Annotated[list[FailureRule], Field(max_length=20)] = Field(
        default_factory=list, description="The first rule that matches decides; no match restarts."
    )


def problem_text(location: tuple[int | str, ...], message: str) -> str:
    """One validation error as a person reads it: `spec.numNodes: Input should be ...`."""
    path = "spec"
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{path}: {re.sub(r'^Value error, ', '', message)}"
