"""Access of a job's pods to the operator's status endpoint: the same three things for every kind. Pure.

A URL in the environment, the authority that its certificate is checked against, and a token that is good for nothing
else. The variables are KEP-2779's, so that the Hugging Face callback and Kubeflow's SDK find them. Called by pods.py.
"""

from dataclasses import dataclass
from typing import Any

URL, CA_CERT, TOKEN = "KUBEFLOW_TRAINER_SERVER_URL", "KUBEFLOW_TRAINER_SERVER_CA_CERT", "KUBEFLOW_TRAINER_SERVER_TOKEN"
# Of the token that a pod shows when it posts its progress.
STATUS_AUDIENCE = "slipway.dev/status"
AUTHORITY_FILE = "status-ca.crt"
TOKEN_DIR = "/var/run/secrets/slipway.dev/status"  # noqa: S105
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class StatusEndpoint:
    """The operator's status endpoint as its pods know it; an empty URL means that it is off."""

    url: str = ""
    authority: str = ""
    audience: str = STATUS_AUDIENCE

    def files(self) -> dict[str, str]:
        """Files for the job's ConfigMap: the authority of the endpoint's certificate, if there is one."""
        return {AUTHORITY_FILE: self.authority} if self.authority else {}

    def env(self, path: str, config_dir: str) -> dict[str, str]:
        """Environment variables of the pods, if the endpoint is on.

        `path`: of the job's status, as in the API. `config_dir`: where the job's ConfigMap is mounted.
        """
        if not self.url:
            return {}
        return {URL: self.url + path, CA_CERT: f"{config_dir}/{AUTHORITY_FILE}", TOKEN: f"{TOKEN_DIR}/token"}

    def volumes(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The token as (volumeMount, volume), if the endpoint is on."""
        if not self.url:
            return []
        token = {"path": "token", "audience": self.audience, "expirationSeconds": TOKEN_SECONDS}
        projected = {"sources": [{"serviceAccountToken": token}]}
        mount = {"name": "slipway-token", "mountPath": TOKEN_DIR, "readOnly": True}
        return [(mount, {"name": "slipway-token", "projected": projected})]
