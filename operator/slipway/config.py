"""The operator's settings: environment variables -> one frozen object, checked once at start. Read by main.py."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.images import OddNameError, resolve


class ConfigError(Exception):
    """Error of a setting that makes no sense; the message names the variable."""


@dataclass(frozen=True)
class Config:
    """The operator's settings: all that can be set from outside."""

    # Empty means every namespace.
    namespaces: tuple[str, ...]
    workers: int
    resync_seconds: float
    # What the resources of one namespace may take of the operator's memory.
    namespace_mib: int
    # Empty turns leader election off: one replica, or a developer's machine.
    lease_namespace: str
    lease_name: str
    identity: str
    health_port: int
    status_port: int
    # Where pods reach the status endpoint; empty turns it off.
    status_url: str
    # A Secret's place; and where a certificate is kept that the operator made because there is none.
    status_cert_dir: Path
    status_made_dir: Path
    trainer_image: str
    quantizer_image: str
    server_image: str
    # Of pods that ask for an accelerator; empty: the same as of others.
    trainer_gpu_image: str
    server_gpu_image: str
    # Gangs wait until the cluster has room for all their pods; off: pods are created at once.
    gang_admission: bool
    # Metrics over TLS, and only to those whom the API server lets read them.
    metrics_authorization: bool
    metrics_port: int
    log_level: str


# The Service's port in manifests/base/service.yaml.
STATUS_SERVICE_PORT = 8443
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def read_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Read SLIPWAY_* variables. Raises ConfigError."""
    return Config(
        namespaces=_namespaces(environ),
        workers=_number(environ, "SLIPWAY_WORKERS", 8, 1, 64),
        resync_seconds=_number(environ, "SLIPWAY_RESYNC_SECONDS", 300, 10, 86400),
        namespace_mib=_number(environ, "SLIPWAY_NAMESPACE_MIB", 32, 1, 65536),
        lease_namespace=environ.get("SLIPWAY_LEASE_NAMESPACE", ""),
        lease_name=environ.get("SLIPWAY_LEASE_NAME", "slipway-operator"),
        identity=environ.get("SLIPWAY_IDENTITY") or environ.get("HOSTNAME") or f"pid-{os.getpid()}",
        health_port=_number(environ, "SLIPWAY_HEALTH_PORT", 8080, 0, 65535),
        status_port=_number(environ, "SLIPWAY_STATUS_PORT", 8443, 0, 65535),
        status_url=_status_url(environ),
        status_cert_dir=Path(environ.get("SLIPWAY_STATUS_CERT_DIR", "/var/run/slipway/tls")),
        status_made_dir=Path(environ.get("SLIPWAY_STATUS_MADE_DIR", "/var/run/slipway/made")),
        trainer_image=_image(environ, "SLIPWAY_TRAINER_IMAGE"),
        quantizer_image=_image(environ, "SLIPWAY_QUANTIZER_IMAGE"),
        gang_admission=_switch(environ, "SLIPWAY_GANG_ADMISSION", default=True),
        server_image=_image(environ, "SLIPWAY_SERVER_IMAGE"),
        trainer_gpu_image=environ.get("SLIPWAY_TRAINER_GPU_IMAGE", ""),
        server_gpu_image=environ.get("SLIPWAY_SERVER_GPU_IMAGE", ""),
        metrics_authorization=_metrics_authorization(environ),
        metrics_port=_number(environ, "SLIPWAY_METRICS_PORT", 8444, 0, 65535),
        log_level=environ.get("SLIPWAY_LOG_LEVEL", "INFO").upper(),
    )


def _namespaces(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Namespaces from a list with commas. A list that names nothing must not come to mean everything."""
    texts = {environ.get("SLIPWAY_NAMESPACES", "").strip(), environ.get("SLIPWAY_NAMESPACE", "").strip()} - {""}
    if len(texts) > 1:
        raise ConfigError("SLIPWAY_NAMESPACES and SLIPWAY_NAMESPACE (its old name) do not agree: set the first only")
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if not _LABEL.fullmatch(name):
            raise ConfigError(f"SLIPWAY_NAMESPACES: {name!r} is no namespace; names with commas between are needed")
    return tuple(dict.fromkeys(names))


def _status_url(environ: Mapping[str, str]) -> str:
    """URL of the status endpoint; "" turns it off.

    As given; else that of the Service in the operator's own namespace, whatever its name is.
    """
    if given := environ.get("SLIPWAY_STATUS_URL", ""):
        return given.rstrip("/")
    service, namespace = environ.get("SLIPWAY_STATUS_SERVICE", ""), environ.get("SLIPWAY_POD_NAMESPACE", "")
    if service and not namespace:
        raise ConfigError("SLIPWAY_STATUS_SERVICE needs SLIPWAY_POD_NAMESPACE, the namespace of that Service")
    return f"https://{service}.{namespace}.svc:{STATUS_SERVICE_PORT}" if service else ""


def _metrics_authorization(environ: Mapping[str, str]) -> bool:
    """Switch for the authorization of metrics, which needs the status endpoint.

    They are served with the status endpoint's certificate: a token must not go over the wire as it is.
    """
    asked = _switch(environ, "SLIPWAY_METRICS_AUTHORIZATION", default=False)
    if asked and not _status_url(environ):
        raise ConfigError("SLIPWAY_METRICS_AUTHORIZATION=on needs the status endpoint: set SLIPWAY_STATUS_URL")
    return asked


def _image(environ: Mapping[str, str], variable: str) -> str:
    name = variable.split("_")[1].lower()
    try:
        return resolve(name, environ.get(variable, ""), environ.get("SLIPWAY_OPERATOR_IMAGE", ""))
    except OddNameError as error:
        raise ConfigError(f"SLIPWAY_OPERATOR_IMAGE={error}: set {variable}") from error


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").lower()
    if text not in ("", "on", "off", "true", "false"):
        raise ConfigError(f"{name}={text!r}: on or off is needed")
    return text in ("on", "true") if text else default


def _number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise ConfigError(f"{name}={text!r}: a whole number from {low} to {high} is needed")
    return int(text)
