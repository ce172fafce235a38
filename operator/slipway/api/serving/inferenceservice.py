"""InferenceService v1alpha1: which model is served, by which engine, how it is batched, how a new one takes over."""

import json
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from slipway.api.common import uris
from slipway.api.common.base import MapBy, Model, Rule, problems_of
from slipway.api.common.containers.env import EnvFroms, EnvVar, bounded
from slipway.api.common.kind import Column, Kind, Scale, condition_column, unseen_status
from slipway.api.common.resources import Resources, unknown
from slipway.api.common.types import Digest, ImageName, ObjectName, Uri
from slipway.api.common.volumes import SharedMemory
from slipway.api.serving.autoscaling import AutoScaling
from slipway.api.serving.description import ModelDescription
from slipway.api.serving.edge import AccessLog, Auth, Cors, Tls
from slipway.api.serving.engine import Engine
from slipway.api.serving.generation import GENERATION_RULES, Adapters, Generation
from slipway.api.serving.pod import ServicePodPlace
from slipway.api.serving.rollout import Rollout
from slipway.api.serving.scaling_rules import SCALING_RULES
from slipway.api.serving.status import InferenceServiceStatus, PinnedModel, TransitionStatus
from slipway.api.serving.transform import Transform
from slipway.api.serving.warmup import WarmUp

__all__ = ["KIND", "InferenceServiceSpec", "InferenceServiceStatus", "PinnedModel", "TransitionStatus", "spec_problems"]

# `<service>-<8 characters of the revision>` names Deployments, and their pods add 17 more.
NAME_BUDGET = 63 - 9 - 17
DURATION = r"^[0-9]{1,9}(us|ms|s|m)$"

Duration = Annotated[str, Field(min_length=2, max_length=12, pattern=DURATION)]


class ModelFrom(Model):
    """The resource whose artifact is served: waited for, and pinned by digest."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.trainingJob) ? 1 : 0) + (has(self.quantizationJob) ? 1 : 0)"
            " + (has(self.searchJob) ? 1 : 0) == 1",
            "set exactly one of trainingJob, quantizationJob, searchJob",
            lambda source: len(source.wire()) == 1,
        ),
    )
    training_job: ObjectName | None = Field(None, description="A TrainingJob of this namespace.")
    quantization_job: ObjectName | None = Field(None, description="A QuantizationJob of this namespace.")
    search_job: ObjectName | None = Field(None, description="A SearchJob of this namespace, whose best trial it is.")


class ModelSource(ModelDescription):
    """Source of the model, and a description of it where it has none of its own."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.from) != has(self.uri)",
            "set exactly one of from (a job's artifact) and uri (an artifact that lies somewhere)",
            lambda model: (model.from_ is None) != (model.uri is None),
        ),
        Rule(
            "!has(self.digest) || has(self.uri)",
            "digest pins a uri; an artifact taken from a job is pinned by itself",
            lambda model: model.digest is None or model.uri is not None,
        ),
        *uris.model(),
        *ModelDescription.cel,
    )
    from_: ModelFrom | None = Field(None, alias="from", description="A job of this namespace whose artifact is served.")
    uri: Uri | None = Field(None, description="The artifact's folder, for example pvc://claim/path.")
    digest: Digest | None = Field(None, description="Refuse to serve anything else.")


class Batching(Model):
    """Requests that wait while the engine is busy are computed together."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.maxQueueSize >= self.maxBatchSize",
            "maxQueueSize must be at least maxBatchSize: a full batch has to fit into the queue",
            lambda batching: batching.max_queue_size >= batching.max_batch_size,
        ),
    )
    max_batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(32, description="Rows per batch; 1 is no batching.")
    max_queue_delay: Duration = Field("0ms", description="How long an idle engine waits for more rows.")
    max_queue_size: Annotated[int, Field(ge=1, le=1048576)] = Field(
        256, description="Rows that may wait; one more is refused with 429 and Retry-After."
    )
    default_timeout: Duration = Field("10s", description="For queue and engine together, unless a request asks less.")
    priority_levels: Annotated[int, Field(ge=1, le=8)] = Field(
        1, description="A request's parameter priority: 1 is served first; the middle level when it names none."
    )


class NonFinite(StrEnum):
    """Policy on NaN and infinity in binary inputs; JSON has neither."""

    REJECT = "Reject"
    ALLOW = "Allow"


class Protocol(Model):
    """Limits of clients' requests and connections, and headers of the answers."""

    max_body_mib: Annotated[int, Field(ge=1, le=4096, alias="maxBodyMiB")] = Field(
        64, description="Of one request; a larger one is refused with 413."
    )
    non_finite: NonFinite = Field(NonFinite.REJECT, description="Allow for models that take NaN for a missing value.")
    idle_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        3660,
        description="After which a connection without a request is closed: later than the balancer before it does so "
        "(Envoy after 3600 s, Google's after 600), or requests are lost in that moment.",
    )
    request_id: bool = Field(
        False,
        description="Answer with an X-Request-Id, over gRPC as metadata: the client's, or a new one. Over HTTP a "
        "client's own is always given back.",
    )
    server_timing: bool = Field(
        False,
        description="Answer with a Server-Timing header, over gRPC as trailing metadata: queue and compute in ms.",
    )


class Drain(Model):
    """Shutdown of a pod without losing a request."""

    readiness_lead_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        10, description="Not ready any more, but still serving, so that balancers can notice."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(30, description="Then for requests under way.")


class Predictor(Model):
    """Predictor: the model, the server that runs it, and the server's pods."""

    cel: ClassVar[tuple[Rule, ...]] = (
        bounded(),
        *GENERATION_RULES,
    )
    model: ModelSource = Field(description="The model.")
    image: ImageName | None = Field(None, description="The server image of this Slipway release when unset.")
    engine: Engine = Field(default_factory=Engine, description="What computes.")
    batching: Batching = Field(default_factory=Batching, description="What is computed together.")
    generation: Generation | None = Field(
        None, description="Serve a language model over OpenAI's API; such an artifact is so served anyway."
    )
    adapters: Adapters | None = Field(None, description="LoRA adapters that are served beside the model.")
    protocol: Protocol = Field(default_factory=Protocol, description="What clients may send.")
    transform: Transform | None = Field(
        None, description="Own code before and after the model; the model alone when unset."
    )
    cors: Cors | None = Field(None, description="Browsers' pages of other origins that may ask; none when unset.")
    auth: Auth | None = Field(
        None,
        description="Ask clients for a key, as Authorization: Bearer or X-Api-Key, over gRPC as metadata. Health and "
        "metrics are free.",
    )
    tls: Tls | None = Field(
        None,
        description="Speak TLS, HTTP and gRPC, and nothing else; probes, metrics and copies do so as well. For people "
        "without a mesh.",
    )
    access_log: AccessLog | None = Field(None, description="Log requests as lines of JSON; no log when unset.")
    warm_up: WarmUp | None = Field(None, description="What is run before the first request; invented rows when unset.")
    resources: Resources = Field(default_factory=Resources, description="What each replica asks of its node.")
    env: Annotated[list[EnvVar], Field(max_length=128), MapBy("name")] = Field(
        default_factory=list, description="Further variables of the server's environment."
    )
    env_from: EnvFroms = Field(
        default_factory=list, description="Variables from whole ConfigMaps and Secrets; those of env win over them."
    )
    shared_memory: SharedMemory | None = Field(
        None, description="A /dev/shm of its own for servers of several processes; the runtime's 64 MiB when unset."
    )
    startup_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        600, description="How long a replica may take to load and warm up the model."
    )
    drain: Drain = Field(default_factory=Drain, description="How a replica leaves.")
    pod: ServicePodPlace = Field(
        default_factory=ServicePodPlace, description="What the pods share beside their container."
    )


class RolloutOn(StrEnum):
    """Event that starts a rollout."""

    SPEC_CHANGE = "SpecChange"
    NEW_ARTIFACT = "NewArtifact"


class InferenceServiceSpec(Model):
    """A model behind one address."""

    cel: ClassVar[tuple[Rule, ...]] = (
        *SCALING_RULES,
        Rule(
            None,
            "predictor.resources asks for an accelerator that no engine of Slipway's images computes on (they know"
            " nvidia.com and amd.com): ask for none, or set predictor.image to one whose engine.provider does",
            lambda spec: spec.predictor.image is not None or not unknown(spec.predictor.resources.asked),
        ),
        uris.in_shipped_images(lambda spec: spec.predictor.image, "predictor"),
        Rule(
            "!has(self.predictor.tls) || !has(self.rollout) || !has(self.rollout.gateway)",
            "a gateway speaks plain HTTP to the pods: let it end TLS itself, and remove predictor.tls",
            lambda spec: spec.predictor.tls is None or spec.rollout.gateway is None,
        ),
    )
    predictor: Predictor = Field(description="What serves.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(1, description="Pods; also through the scale subresource.")
    auto_scaling: AutoScaling | None = Field(None, description="Let the load decide how many pods there are.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")
    rollout_on: RolloutOn = Field(
        RolloutOn.SPEC_CHANGE,
        description="SpecChange keeps the digest that was pinned; NewArtifact follows the source to a new one.",
    )


def spec_problems(name: str, spec: dict[str, Any]) -> tuple[InferenceServiceSpec | None, list[str]]:
    """Parse a spec as the API server gave it. Returns the model, or None and every problem in words."""
    try:
        parsed = InferenceServiceSpec.model_validate_json(json.dumps(spec), strict=True)
    except ValidationError as error:
        return None, problems_of(error)
    if len(name) > NAME_BUDGET:
        return None, [
            f"metadata.name: {len(name)} characters, and the names of its pods leave room for {NAME_BUDGET}: shorten it"
        ]
    return parsed, []


KIND = Kind(
    kind="InferenceService",
    plural="inferenceservices",
    singular="inferenceservice",
    short="infsvc",
    description="Serves a model artifact over the Open Inference Protocol with dynamic batching.",
    spec=InferenceServiceSpec,
    status=InferenceServiceStatus,
    default_status=unseen_status(),
    scale=Scale(".spec.replicas", ".status.readyReplicas", ".status.selector"),
    name_length=NAME_BUDGET,
    columns=(
        condition_column("Ready", "Ready", "status", description="True while a revision serves"),
        condition_column("Reason", "Ready", "reason", description="Why it is or is not ready"),
        Column("URL", ".status.url", description="Where to send requests"),
        Column("Replicas", ".status.readyReplicas", "integer", description="Pods that serve"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Revision", ".status.components.predictor.latestReadyRevision", priority=1),
        Column("Digest", ".status.model.digest", priority=1),
    ),
)
