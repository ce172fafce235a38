"""Settings of the server, from an InferenceService document as the operator mounts it; the command line adds to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from slipway.api.common.quantity import parse_quantity
from slipway.api.common.resources import accelerators
from slipway.api.serving.description import ModelDescription
from slipway.api.serving.edge import Cors
from slipway.api.serving.engine import EngineName
from slipway.api.serving.generation import Adapter, Generation
from slipway.api.serving.inferenceservice import (
    InferenceServiceSpec,
    NonFinite,
    PinnedModel,
    Predictor,
    Protocol,
    spec_problems,
)
from slipway.api.serving.transform import TensorForm
from slipway.api.serving.warmup import WarmUp, WarmUpMode
from workloads import storage
from workloads.errors import BadInput
from workloads.serve.batcher import Limits
from workloads.serve.http import HttpLimits

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
LAST_WORDS = 5.0  # seconds
HTTP_PORT = 8080
GRPC_PORT = 9000
# Beside the document.
MIRROR_FILE = "mirror.json"
# Where the operator mounts the Secret with the clients' keys.
KEYS_DIR = Path("/var/run/secrets/slipway.dev/keys")
# And that with its certificate.
TLS_DIR = Path("/var/run/secrets/slipway.dev/tls")


@dataclass(frozen=True)
class EdgeChoice:
    """Settings of the edge around requests. `keys`: a folder whose files are keys; `sample`: percent that are logged.

    `uid` of the service, whose holder is told what the model is without a key: the operator.
    """

    request_id: bool = False
    server_timing: bool = False
    cors: Cors | None = None
    keys: Path | None = None
    sample: int = 0
    secret: str = ""
    uid: str = ""


@dataclass(frozen=True)
class WarmUpChoice:
    """`uri`: a file with rows, .npz or a request as JSON. `shapes` by the input's name, the rows included."""

    mode: WarmUpMode = WarmUpMode.FULL
    uri: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TransformChoice:
    """Own code around the model. `memory` of one worker in bytes, 0: no limit; empty tensors are the model's own."""

    preprocess: str = ""
    postprocess: str = ""
    path: str = ""
    inputs: tuple[TensorForm, ...] = ()
    outputs: tuple[TensorForm, ...] = ()
    workers: int = 2
    memory: int = 0
    startup: float = 600.0  # for the import


@dataclass(frozen=True)
class Settings:
    """Everything the server is told. Times in seconds; a port of -1 is not opened, 0 is chosen by the system."""

    model: str
    name: str = ""
    digest: str | None = None
    version: str = "1"
    engine: EngineName = EngineName.AUTO
    fallback: tuple[EngineName, ...] = ()
    threads: int | None = None
    instances: int = 1
    engine_cache: Path | None = None
    max_axis_length: int | None = None
    # Where a Job builds engines into the cache, the server only looks there.
    builds_engines: bool = True
    providers: tuple[str, ...] = ()
    # What the pod asks for, in its resources' words.
    accelerator: str = ""
    batching: Limits = field(default_factory=Limits)
    http: HttpLimits = field(default_factory=HttpLimits)
    host: str = ""  # all of the machine's addresses, IPv4 and IPv6: a server in a pod is reached from outside of it
    port: int = HTTP_PORT
    grpc_port: int = GRPC_PORT
    edge: EdgeChoice = field(default_factory=EdgeChoice)
    # A folder with tls.crt and tls.key, and the name of its Secret.
    tls: Path | None = None
    tls_secret: str = ""
    nonfinite: bool = False
    described: ModelDescription | None = None
    # Of a language model, where its service says anything of it.
    generation: Generation | None = None
    adapters: tuple[Adapter, ...] = ()
    transform: TransformChoice | None = None
    warm_up: WarmUpChoice = field(default_factory=WarmUpChoice)
    readiness_lead: float = 10.0
    drain_timeout: float = 30.0
    build_only: bool = False
    # Says where copies of requests go, if anywhere; read again and again.
    mirror: Path | None = None


def seconds(duration: str) -> float:
    """`10ms` -> 0.01. The API has checked the form."""
    digits = duration.rstrip("usm")
    return int(digits) * UNITS[duration[len(digits) :]]


def from_document(path: Path) -> Settings:
    """Settings of an InferenceService, JSON or YAML, with the artifact in status.model if the operator pinned one."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: {error}") from error
    if not isinstance(document, dict) or document.get("kind") != "InferenceService":
        raise BadInput(f"{path}: not an InferenceService document")
    metadata = document.get("metadata") or {}
    name = str(metadata.get("name") or "model")
    spec, problems = spec_problems(name, document.get("spec") or {})
    if spec is None:
        raise BadInput(f"{path}: " + "; ".join(problems))
    settings = _settings(name, spec, _pinned(path, spec, (document.get("status") or {}).get("model")))
    edge = _edge(spec.predictor, str(metadata.get("uid") or ""))
    return replace(settings, edge=edge, mirror=path.parent / MIRROR_FILE)


def _http(protocol: Protocol) -> HttpLimits:
    """The memory for all requests together must hold at least a few of the largest."""
    limits, most = HttpLimits(), protocol.max_body_mib << 20
    buffered = max(limits.max_buffered, 4 * most)
    return replace(limits, max_body_size=most, max_buffered=buffered, idle_timeout=protocol.idle_timeout_seconds)


def _edge(predictor: Predictor, uid: str) -> EdgeChoice:
    auth, log = predictor.auth, predictor.access_log
    return EdgeChoice(
        predictor.protocol.request_id,
        predictor.protocol.server_timing,
        predictor.cors,
        KEYS_DIR if auth is not None else None,
        log.sample_percent if log is not None else 0,
        auth.secret_ref.name if auth is not None else "",
        uid if auth is not None else "",
    )


def _transform(predictor: Predictor) -> TransformChoice | None:
    asked = predictor.transform
    if asked is None:
        return None
    return TransformChoice(
        asked.preprocess or "",
        asked.postprocess or "",
        asked.path or "",
        tuple(asked.inputs),
        tuple(asked.outputs),
        asked.workers,
        int(parse_quantity(asked.memory)) if asked.memory is not None else 0,
        max(LAST_WORDS, predictor.startup_seconds - LAST_WORDS),  # before the kubelet ends the pod without a word
    )


def _warm_up(asked: WarmUp | None) -> WarmUpChoice:
    if asked is None:
        return WarmUpChoice()
    return WarmUpChoice(asked.mode, asked.uri, {one.name: tuple(one.shape) for one in asked.shapes})


def _accelerator(predictor: Predictor) -> str:
    asked = accelerators(predictor.resources.asked)
    return " and ".join(f"{amount} {name}" for name, amount in asked.items())


def _pinned(path: Path, spec: InferenceServiceSpec, model: Any) -> PinnedModel:
    if model is not None:
        try:
            return PinnedModel.model_validate_json(json.dumps(model))
        except ValidationError as error:
            raise BadInput(f"{path}: status.model: {error}") from error
    wanted = spec.predictor.model
    if wanted.uri is None:
        raise BadInput(
            f"{path}: the model comes from a job, and status.model does not say which artifact: set model.uri"
        )
    return PinnedModel(uri=wanted.uri, digest=wanted.digest or "")


def _settings(name: str, spec: InferenceServiceSpec, model: PinnedModel) -> Settings:
    predictor = spec.predictor
    batching, cache = predictor.batching, predictor.engine.cache
    lost = next((one.name for one in predictor.adapters or () if one.uri is None), None)
    if lost is not None:
        raise BadInput(f"adapters: {lost} comes from a job, which the operator looks up: set its uri to serve it here")
    return Settings(
        model=model.uri,
        name=name,
        digest=model.digest or None,
        described=ModelDescription(**{name: getattr(predictor.model, name) for name in ModelDescription.model_fields}),
        generation=predictor.generation,
        adapters=tuple(predictor.adapters or ()),
        engine=predictor.engine.name,
        fallback=tuple(predictor.engine.fallback),
        providers=(predictor.engine.provider.value,) if predictor.engine.provider is not None else (),
        accelerator=_accelerator(predictor),
        threads=predictor.engine.threads,
        instances=predictor.engine.instances,
        engine_cache=storage.local_path(cache.uri) if cache is not None else None,
        builds_engines=cache is None,
        max_axis_length=predictor.engine.max_axis_length,
        batching=Limits(
            max_batch_size=batching.max_batch_size,
            max_queue_size=batching.max_queue_size,
            max_queue_delay=seconds(batching.max_queue_delay),
            default_timeout=seconds(batching.default_timeout),
            priority_levels=batching.priority_levels,
        ),
        http=_http(predictor.protocol),
        tls=TLS_DIR if predictor.tls is not None else None,
        tls_secret=predictor.tls.secret_ref.name if predictor.tls is not None else "",
        transform=_transform(predictor),
        warm_up=_warm_up(predictor.warm_up),
        nonfinite=predictor.protocol.non_finite is NonFinite.ALLOW,
        readiness_lead=predictor.drain.readiness_lead_seconds,
        drain_timeout=predictor.drain.timeout_seconds,
    )
