"""InferenceService: its status, in KServe's words where KServe has them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.common.base import MapBy, StatusModel
from slipway.api.common.language import Bytes, LanguageFacts
from slipway.api.common.types import MAX_INT32, Condition, Count, ShortText, Text, Time

# Of a classifier's classes; a server with more has its output drift counted anew by an operator that takes over.
MOST_BINS = 1024


class PinnedModel(StatusModel):
    """The artifact that is served."""

    uri: Annotated[str, Field(max_length=1024)] = Field(description="The artifact's folder.")
    digest: Annotated[str, Field(max_length=71)] = Field("", description="sha256 of its artifact.json.")
    source: ShortText = Field("", description="The job it was taken from, as Kind/name.")
    language: LanguageFacts | None = Field(None, description="Of a language model, as that job says.")


class PinnedAdapter(PinnedModel):
    """An adapter that is served beside the model."""

    name: ShortText = Field(description="The model that requests name.")


class GenerationStatus(StatusModel):
    """Memory of a language model's replica: planned before there is a pod, corrected by what its engine has."""

    weights_bytes: Bytes | None = Field(None, description="Of the weights.")
    workspace_bytes: Bytes | None = Field(None, description="Of activations and logits.")
    cache_bytes: Bytes | None = Field(None, description="Of keys and values.")
    cache_bytes_per_token: Bytes | None = Field(None, description="Of one token's keys and values.")
    max_concurrent_tokens: Bytes = Field(description="Tokens of all answers under way that a replica has room for.")
    measured: bool = Field(False, description="The engine of a pod has said so.")


class Tensor(StatusModel):
    """An input or output of the model, in the Open Inference Protocol's words."""

    name: Annotated[str, Field(max_length=128)] = Field(description="Its name.")
    datatype: Annotated[str, Field(max_length=16)] = Field(description="FP32, INT64, BYTES, ...")
    shape: Annotated[list[Annotated[int, Field(ge=-1, le=2**53)]], Field(max_length=16)] = Field(
        default_factory=list, description="-1 is any length."
    )


class WarmUp(StatusModel):
    """Time that the engine took for a batch, measured in the pod before it was ready."""

    rows: Count = Field(description="Rows of the batch.")
    milliseconds: Annotated[float, Field(ge=0, le=1e9)] = Field(description="The engine's time for it.")


class ServedModel(StatusModel):
    """Model as a pod of the newest serving revision describes it."""

    revision: ShortText = Field(description="Whose pod was asked.")
    digest: ShortText = Field("", description="What it has loaded.")
    platform: ShortText = Field("", description="onnx_onnxv1, pytorch_safetensors.")
    engine: ShortText = Field("", description="What computes.")
    inputs: Annotated[list[Tensor], Field(max_length=32)] = Field(default_factory=list, description="Goes in.")
    outputs: Annotated[list[Tensor], Field(max_length=32)] = Field(default_factory=list, description="Comes out.")
    performance: Annotated[list[WarmUp], Field(max_length=16)] = Field(
        default_factory=list, description="Measured at warm-up, by batch size."
    )
    max_batch_size: Count | None = Field(None, description="Rows per batch.")
    max_concurrent_tokens: Bytes | None = Field(
        None, description="Of a language model: tokens that its engine's cache of keys and values has room for."
    )
    proved: ShortText = Field("", description="Of a language model: how its probes were answered.")
    batching: ShortText = Field("", description="on: requests share batches. off, and why not.")
    warnings: Annotated[list[ShortText], Field(max_length=16)] = Field(
        default_factory=list, description="What the warm-up found."
    )
    job: ShortText = Field("", description="The job that made the artifact, as its description says.")
    data_set: ShortText = Field("", description="What it was trained on, as name@digest.")
    sources: Annotated[list[ShortText], Field(max_length=16)] = Field(
        default_factory=list, description="Digests of the artifacts that it was made from."
    )


class BuiltEngine(StatusModel):
    """The TensorRT engine of the newest revision, as its build Job said."""

    job: Annotated[str, Field(max_length=253)] = Field(description="The Job that built it, or found it in the cache.")
    key: ShortText = Field("", description="Its folder in the cache.")
    architecture: ShortText = Field("", description="The GPU that it runs on, such as sm89; portable: any.")
    library: ShortText = Field("", description="The TensorRT that it runs with.")
    bytes: Annotated[int, Field(ge=0, le=2**53)] = Field(0, description="Its size.")
    build_seconds: Annotated[float, Field(ge=0, le=1e9)] = Field(0, description="What building it took.")


class LoadFailure(StatusModel):
    """Reason why the newest revision does not serve."""

    reason: ShortText = Field(description="ModelLoadFailed, ImagePullError, Unschedulable, OOMKilled, ...")
    message: Text = Field("", description="The server's own words.")
    exit_code: Annotated[int, Field(ge=-(2**31), le=MAX_INT32)] | None = Field(None, description="Its exit code.")
    pod: Annotated[str, Field(max_length=253)] = Field("", description="The pod that said so.")
    time: Time = Field(description="When it was seen.")


class TransitionStatus(StrEnum):
    """KServe's words for the way from one revision to the next."""

    UP_TO_DATE = "UpToDate"
    IN_PROGRESS = "InProgress"
    BLOCKED_BY_FAILED_LOAD = "BlockedByFailedLoad"
    INVALID_SPEC = "InvalidSpec"


class ModelStatus(StatusModel):
    """State of the newest revision."""

    transition_status: TransitionStatus = Field(description="Where the rollout is.")
    last_failure_info: LoadFailure | None = Field(None, description="What blocks it.")


class TrafficShare(StatusModel):
    """A revision's share of the traffic."""

    revision_name: ShortText = Field(description="The revision.")
    percent: Annotated[int, Field(ge=0, le=100)] = Field(description="Share of the ready pods.")
    latest_revision: bool = Field(description="Whether it is the newest one.")


class CanaryPhase(StrEnum):
    """Phase of a canary rollout."""

    STARTING = "Starting"
    ANALYSING = "Analysing"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"


class GateFigures(StatusModel):
    """Figures that the gate compares, since the step began."""

    requests: Count = Field(0, description="To the canary.")
    stable_requests: Count = Field(0, description="To the serving revision.")
    error_rate: ShortText = Field("", description="Of the canary.")
    stable_error_rate: ShortText = Field("", description="Of the serving revision.")
    p99_milliseconds: ShortText = Field("", description="Of the canary.")
    stable_p99_milliseconds: ShortText = Field("", description="Of the serving revision.")
    output_drift: ShortText = Field("", description="Total variation distance of the outputs' distributions.")
    logprob_drift: ShortText = Field("", description="Nats per token that the serving revision's answers lose.")
    ttft_milliseconds: ShortText = Field("", description="Of the canary, to the first token, p95.")
    stable_ttft_milliseconds: ShortText = Field("", description="Of the serving revision.")
    tpot_milliseconds: ShortText = Field("", description="Of the canary, per further token, p95.")
    stable_tpot_milliseconds: ShortText = Field("", description="Of the serving revision.")


MOST_COUNTED = 2**53
Tally = Annotated[int, Field(ge=0, le=MOST_COUNTED)]


class RevisionCounts(StatusModel):
    """Counts by the servers of a revision since the step began."""

    revision: ShortText = Field(description="The revision.")
    answered: Tally = Field(0, description="Requests with a result.")
    errors: Tally = Field(0, description="Requests without one.")
    slow: Annotated[dict[str, Tally], Field(max_length=64)] = Field(
        default_factory=dict, description="Answered requests by the upper bound of their seconds."
    )
    outputs: Annotated[dict[str, Tally], Field(max_length=MOST_BINS)] = Field(
        default_factory=dict, description="Rows by output and bin; where the gate asks for output drift."
    )
    first: Annotated[dict[str, Tally], Field(max_length=64)] = Field(
        default_factory=dict, description="Answers of a language model by the seconds to their first token."
    )
    each: Annotated[dict[str, Tally], Field(max_length=64)] = Field(
        default_factory=dict, description="By the mean seconds of their further tokens."
    )


class CanaryEvidence(StatusModel):
    """Counts from which an operator goes on that takes over in the middle of a step."""

    watched_seconds: Count = Field(description="For how long the revisions had been compared.")
    revisions: Annotated[list[RevisionCounts], Field(max_length=2), MapBy("revision")] = Field(
        default_factory=list, description="The two that are compared."
    )


class CanaryStatus(StatusModel):
    """The newest revision beside the one that serves."""

    name: ShortText = Field(description="The revision.")
    attempt: ShortText = Field("", description="Changes with the revision and with spec.rollout: a new try.")
    stable: ShortText = Field("", description="The revision that it is compared with.")
    phase: CanaryPhase = Field(description="Starting, Analysing, Promoted, RolledBack.")
    step: Count = Field(0, description="Which of spec.rollout.canary.steps, from 0.")
    traffic_percent: Annotated[int, Field(ge=0, le=100)] = Field(0, description="The share asked for.")
    actual_percent: Annotated[int, Field(ge=0, le=100)] = Field(0, description="What whole pods give.")
    mirror: bool = Field(False, description="It gets copies of requests, and no traffic of its own.")
    since: Time = Field(description="When this phase began.")
    reason: ShortText = Field("", description="One word for programs.")
    message: Text = Field("", description="The verdict in words.")
    gate: GateFigures | None = Field(None, description="The figures behind it.")
    evidence: CanaryEvidence | None = Field(None, description="What the next operator goes on from.")


class AutoScalingStatus(StatusModel):
    """Last decision of autoscaling, and its reason."""

    desired: Count = Field(description="Replicas.")
    replicas_seen: Count = Field(description="spec.replicas at that time: a change of it starts from there.")
    message: Text = Field("", description="Why.")
    last_scale_time: Time | None = Field(None, description="When it last changed.")


class PredictorStatus(StatusModel):
    """Revisions of the predictor."""

    latest_created_revision: ShortText = Field("", description="The newest one.")
    latest_ready_revision: ShortText = Field("", description="The newest one that serves.")
    latest_rolledout_revision: ShortText = Field("", description="The newest one that had all the traffic.")
    previous_rolledout_revision: ShortText = Field("", description="The one that served before it.")
    traffic: Annotated[list[TrafficShare], Field(max_length=8)] = Field(
        default_factory=list, description="Who gets how much, by the pods that serve."
    )


class Components(StatusModel):
    """KServe's place for revisions."""

    predictor: PredictorStatus = Field(default_factory=PredictorStatus, description="The predictor's.")


class Address(StatusModel):
    """Addresses of the service inside the cluster, by protocol."""

    url: ShortText = Field(description="REST.")
    grpc: ShortText = Field("", description="gRPC, host:port.")


class ReplicaCounts(StatusModel):
    """Pods over all revisions."""

    desired: Count = Field(0, description="Asked for.")
    ready: Count = Field(0, description="Serving.")
    updated: Count = Field(0, description="Of the newest revision.")


class InferenceServiceStatus(StatusModel):
    """State of the service as the operator knows it. The operator is the only writer."""

    conditions: Annotated[list[Condition], Field(max_length=16), MapBy("type")] = Field(
        default_factory=list,
        description="Ready, Reconciling, Stalled; Source-, Engine-, Gateway-, Activator-, Metrics- and PredictorReady.",
    )
    observed_generation: Annotated[int, Field(ge=-1, le=2**53)] | None = Field(
        None, description="metadata.generation of the spec that this status is about."
    )
    url: ShortText | None = Field(None, description="Where to send requests.")
    address: Address | None = Field(None, description="The same, by protocol.")
    model: PinnedModel | None = Field(None, description="The artifact of the newest revision.")
    adapters: Annotated[list[PinnedAdapter], Field(max_length=32), MapBy("name")] = Field(
        default_factory=list, description="Adapters that jobs made, as they are served."
    )
    generation: GenerationStatus | None = Field(None, description="Of a language model.")
    model_status: ModelStatus | None = Field(None, description="How the newest revision is doing.")
    served_model: ServedModel | None = Field(None, description="Signature, engine, figures and lineage, from a pod.")
    engine: BuiltEngine | None = Field(None, description="With spec.predictor.engine.cache, once it is built.")
    auto_scaling: AutoScalingStatus | None = Field(None, description="With spec.autoScaling.")
    canary_statuses: Annotated[list[CanaryStatus], Field(max_length=1)] = Field(
        default_factory=list, description="With spec.rollout.strategy Canary: the newest try."
    )
    components: Components | None = Field(None, description="Revisions.")
    replicas: ReplicaCounts | None = Field(None, description="Pods.")
    ready_replicas: Count | None = Field(None, description="Pods that serve, for the scale subresource.")
    selector: Annotated[str, Field(max_length=512)] | None = Field(None, description="Selects the service's pods.")
