"""A QuantizationJob as the rest of this folder sees it: identity, spec, the pinned source, the platform it runs on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from slipway.gang.status_endpoint import StatusEndpoint
from slipway.reconcile import labels
from slipway.reconcile.source import Pinned
from slipway.runtime.client.resource import Resource

KIND = "QuantizationJob"
QUANTIZATION_JOBS = Resource("slipway.dev", "v1alpha1", "quantizationjobs", KIND)


@dataclass(frozen=True)
class Platform:
    """Platform of every job: the installation's quantizer image and status endpoint."""

    quantizer_image: str
    # Where pods post their progress.
    endpoint: StatusEndpoint = field(default_factory=StatusEndpoint)


@dataclass(frozen=True)
class QuantizationJob:
    """One valid job whose source is known."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: QuantizationJobSpec
    source: Pinned

    @property
    def config_map(self) -> str:
        """Name of the ConfigMap with the rendered job."""
        return f"{self.name}-quantization"

    def pod(self, step: int, shard: int, attempt: int) -> str:
        """Name of one pod of the stage that is the job's `step`-th."""
        return f"{self.name}-{step}-{shard}-a{attempt}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every child."""
        return labels.owned(KIND, self.name, self.uid)

    @property
    def owner(self) -> dict[str, Any]:
        """The reference by which children are found and cleaned up."""
        return labels.controller(QUANTIZATION_JOBS.api_version, KIND, self.name, self.uid)


def identify(obj: Mapping[str, Any], spec: QuantizationJobSpec, source: Pinned) -> QuantizationJob:
    """The object from the API server with its parsed spec."""
    metadata = obj["metadata"]
    generation = metadata.get("generation") or 1
    return QuantizationJob(metadata["name"], metadata["namespace"], metadata["uid"], generation, spec, source)
