"""Ports by which clients come to a service, and Secrets by which its server lets them in. Pure; for manifests.py."""

from typing import Any

from slipway.inferenceservice.service import GRPC_PORT, HTTPS, InferenceService

# Where workloads/serve/settings.py looks. A folder, not single files: those would never change in a pod.
KEYS_DIR = "/var/run/secrets/slipway.dev/keys"
TLS_DIR = "/var/run/secrets/slipway.dev/tls"


def ports(service: InferenceService) -> list[dict[str, Any]]:
    """Ports of the Service. The first stays when TLS is switched on: pods of the revision before answer there until
    then.
    """
    made: list[dict[str, Any]] = [
        {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
        {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
    ]
    if service.spec.predictor.tls is not None:
        made.append({"name": "https", "port": HTTPS, "targetPort": "http", "protocol": "TCP"})
    return made


def secrets(service: InferenceService) -> dict[str, tuple[str, str]]:
    """Secrets (name, place) by volume that the server alone reads: no Job, and nobody's init container."""
    auth = service.spec.predictor.auth
    keys = {"slipway-keys": (auth.secret_ref.name, KEYS_DIR)} if auth is not None else {}
    tls = service.spec.predictor.tls
    return keys | ({"slipway-tls": (tls.secret_ref.name, TLS_DIR)} if tls is not None else {})
