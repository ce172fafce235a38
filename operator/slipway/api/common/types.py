"""Types that the kinds share: scalars with their bounds, reasons, conditions, run and failure policies."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule, StatusModel

GROUP = "slipway.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_INT32 = 2**31 - 1
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
# As metav1.Condition has it.
CONDITION_TYPE = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
ShortText = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(max_length=1024)]
LongText = Annotated[str, Field(max_length=4096)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
AnnotationValue = Annotated[str, Field(max_length=4096)]
ImageName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
AbsolutePath = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/([^/:]+(/[^/:]+)*/?)?$")]
Uri = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[a-z0-9]+://\S+$")]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]
Seconds = Annotated[int, Field(ge=0, le=MAX_INT32)]
PositiveSeconds = Annotated[int, Field(ge=1, le=MAX_INT32)]
Count = Annotated[int, Field(ge=0, le=MAX_INT32)]
# A reason or the type of a condition, as Kubernetes writes them.
CamelWord = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")]


def same(field: str) -> str:
    """CEL: the field is as it was, set or not."""
    return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"


class Reason(StrEnum):
    """Every reason that a condition or an event can carry. Public API: documents and alerts name them."""

    PENDING = "Pending"
    INVALID_SPEC = "InvalidSpec"
    SPEC_CHANGED = "SpecChanged"
    UNKNOWN_FIELD = "UnknownField"
    NAME_CONFLICT = "NameConflict"
    CREATE_REFUSED = "CreateRefused"
    NAMESPACE_FULL = "NamespaceFull"
    API_ERROR = "ApiError"
    RECONCILE_ERROR = "ReconcileError"
    PODS_CREATED = "PodsCreated"
    PODS_PENDING = "PodsPending"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_ERROR = "ImagePullError"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    VOLUME_ERROR = "VolumeError"
    POD_SANDBOX_ERROR = "PodSandboxError"
    POD_NOT_STARTED = "PodNotStarted"
    ALL_PODS_RUNNING = "AllPodsRunning"
    RESTARTING = "Restarting"
    RESTARTED = "Restarted"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    RESTORED = "Restored"
    SUCCEEDED = "Succeeded"
    MAX_RESTARTS_EXCEEDED = "MaxRestartsExceeded"
    FAILURE_RULE = "FailureRule"
    BAD_INPUT = "BadInput"
    GATE_FAILED = "GateFailed"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
    MAX_DISRUPTIONS_EXCEEDED = "MaxDisruptionsExceeded"
    # What ended a container or a pod (lastFailure.reason).
    ERROR = "Error"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    NODE_SHUTDOWN = "NodeShutdown"
    NODE_REFUSED = "NodeRefused"
    POD_DELETED = "PodDeleted"
    PREEMPTED = "Preempted"
    HANG = "Hang"
    # An elastic job's size, and the queue for a place in the cluster.
    NODE_REPLACED = "NodeReplaced"
    SCALED = "Scaled"
    QUEUED = "Queued"
    # A chain's next link.
    WAITING_FOR_SOURCE = "WaitingForSource"
    WAITING_FOR_RUNTIME = "WaitingForRuntime"
    SOURCE_READY = "SourceReady"
    SOURCE_FAILED = "SourceFailed"
    # A QuantizationJob's stages and gates.
    STAGE_DONE = "StageDone"
    ESCALATED = "Escalated"
    GATE_PASSED = "GatePassed"
    # A SearchJob's trials.
    TRIALS_RUNNING = "TrialsRunning"
    TRIAL_STARTED = "TrialStarted"
    TRIAL_ENDED = "TrialEnded"
    TRIALS_FAILED = "TrialsFailed"
    NO_TRIAL = "NoTrial"
    # A service's revisions.
    ROLLING_OUT = "RollingOut"
    SERVING = "Serving"
    SCALED_TO_ZERO = "ScaledToZero"
    NO_TRAFFIC = "NoTraffic"
    ACTIVATING = "Activating"
    METRICS_UNREADABLE = "MetricsUnreadable"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    # Of language models: no room, other answers than when it was judged, an adapter that does nothing or is another's.
    DOES_NOT_FIT = "DoesNotFit"
    PROBE_MISMATCH = "ProbeMismatch"
    ADAPTER_NOT_APPLIED = "AdapterNotApplied"
    ADAPTER_MISMATCH = "AdapterMismatch"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    ENGINE_BUILDING = "EngineBuilding"
    ENGINE_BUILT = "EngineBuilt"
    ENGINE_BUILD_FAILED = "EngineBuildFailed"
    CANARY_ANALYSIS = "CanaryAnalysis"
    CANARY_PROMOTED = "CanaryPromoted"
    CANARY_ROLLED_BACK = "CanaryRolledBack"
    GATEWAY_ACCEPTED = "GatewayAccepted"
    GATEWAY_PENDING = "GatewayPending"
    GATEWAY_REFUSED = "GatewayRefused"
    GATEWAY_MISSING = "GatewayMissing"
    # The replacement of a service's only pod, while its node is drained.
    REPLACEMENT_STARTING = "ReplacementStarting"
    REPLACEMENT_READY = "ReplacementReady"
    REPLACEMENT_OVERDUE = "ReplacementOverdue"


class ConditionStatus(StrEnum):
    """Kubernetes' three-valued logic."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """KEP-1623's metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316, pattern=CONDITION_TYPE)] = Field(
        description="Ready, Succeeded, Stalled, ..."
    )
    status: ConditionStatus = Field(description="Whether it holds.")
    observed_generation: Annotated[int, Field(ge=0, le=2**53)] | None = Field(
        None, description="metadata.generation that it is about."
    )
    last_transition_time: Time = Field(description="When `status` last changed.")
    reason: Annotated[
        str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ] = Field(description="One word for programs.")
    message: Annotated[str, Field(max_length=32768)] = Field("", description="A sentence for people.")


class CleanPodPolicy(StrEnum):
    """Policy on deleting the pods of a finished job; those that stay keep their logs."""

    NONE = "None"
    RUNNING = "Running"
    ALL = "All"


class RunPolicy(Model):
    """Limits of a job's run: when it may run, for how long, and what is left of it afterwards."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(same("managedBy"), "managedBy cannot be changed: delete the resource and create it again"),
    )
    suspend: bool = Field(
        False,
        description="Stop the pods (SIGTERM, then their grace period); false resumes from the last checkpoint.",
    )
    active_deadline_seconds: PositiveSeconds | None = Field(
        None, description="Fail the job after so much running time; time spent pending or suspended is not counted."
    )
    startup_deadline_seconds: PositiveSeconds | None = Field(
        None, description="Fail the job when its pods are not all running so long after they were asked for."
    )
    ttl_seconds_after_finished: Seconds | None = Field(
        None, description="Delete the job and its pods so long after it has finished."
    )
    clean_pod_policy: CleanPodPolicy = Field(
        CleanPodPolicy.RUNNING,
        description="Which pods are deleted when the job finishes; by any policy also one in which a container that "
        "others put into it goes on 10 s after the operator's own has ended.",
    )
    managed_by: (
        Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[-A-Za-z0-9_.]+$")] | None
    ) = Field(
        None, description="Another controller, such as kueue.x-k8s.io/multikueue: this operator leaves the job alone."
    )


class RuleAction(StrEnum):
    """Action of a failure rule: fail the job, or restart it with or without counting against maxRestarts."""

    FAIL_JOB = "FailJob"
    RESTART = "Restart"
    RESTART_IGNORE_MAX_RESTARTS = "RestartIgnoreMaxRestarts"


class ExitCodeOperator(StrEnum):
    """Operator of a failure rule's comparison of exit codes."""

    IN = "In"
    NOT_IN = "NotIn"


class OnExitCodes(Model):
    """Exit codes of the container that failed first."""

    operator: ExitCodeOperator = Field(
        ExitCodeOperator.IN, description="Whether the code is one of the values or none."
    )
    values: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(min_length=1, max_length=64)] = Field(
        description="Exit codes; 128 + n means killed by signal n."
    )


class FailureRule(Model):
    """Rule on failed pods; it matches when every criterion given matches."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.onExitCodes) || has(self.onReasons) || has(self.onPodConditions)",
            "a failure rule needs at least one of onExitCodes, onReasons, onPodConditions",
            lambda rule: any(c is not None for c in (rule.on_exit_codes, rule.on_reasons, rule.on_pod_conditions)),
        ),
    )
    action: RuleAction = Field(
        description="What happens: the job fails, or the gang restarts with or without a budget."
    )
    on_exit_codes: OnExitCodes | None = Field(None, description="Exit codes of the container that failed first.")
    on_reasons: Annotated[list[CamelWord], Field(min_length=1, max_length=32)] | None = Field(
        None, description="Reasons as in status.lastFailure, such as OOMKilled, Evicted, NodeLost."
    )
    on_pod_conditions: Annotated[list[CamelWord], Field(min_length=1, max_length=32)] | None = Field(
        None, description="Types of conditions that are True on the failed pod, such as DisruptionTarget."
    )


class Backoff(Model):
    """A pause before a gang starts again that has failed before; the first restart comes at once."""

    seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        10, description="Pause before the second restart in a row; it doubles with each further one. 0: no pauses."
    )
    max_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(360, description="The longest pause.")
    reset_after_seconds: Annotated[int, Field(ge=1, le=604800)] = Field(
        600, description="An attempt whose pods have all run for so long ends the row: the next restart comes at once."
    )


class FailurePolicy(Model):
    """Response to a failed pod: the whole gang restarts, within a budget that survives the operator."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = Field(
        3, description="Restarts after failures of the program before the job fails; disruptions have maxDisruptions."
    )
    max_disruptions: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        1000,
        description="Restarts before the job fails after pods were evicted, preempted, deleted, or lost with their "
        "node. They don't count against maxRestarts, unless a rule with action Restart matches.",
    )
    node_lost_grace_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        60, description="How long a pod on an unreachable node is waited for before it is deleted by force."
    )
    rules: Annotated[list[FailureRule], Field(max_length=20)] = Field(
        default_factory=list,
        description="The first rule that matches decides, also of a disruption; no match restarts.",
    )
    backoff: Backoff = Field(default_factory=Backoff, description="Pauses between restarts that follow each other.")
