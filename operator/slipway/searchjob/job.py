"""A SearchJob as the rest of this folder sees it: identity, spec, names of what it makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.search.searchjob import SearchJobSpec
from slipway.reconcile import labels
from slipway.runtime.client.resource import Resource

KIND = "SearchJob"
SEARCH_JOBS = Resource("slipway.dev", "v1alpha1", "searchjobs", KIND)


@dataclass(frozen=True)
class Platform:
    """Platform of every search: the installation's quantizer image, which measures."""

    quantizer_image: str


@dataclass(frozen=True)
class SearchJob:
    """One valid search. `template` is the TrainingJob's spec as the user wrote it, without the API's defaults."""

    name: str
    namespace: str
    uid: str
    spec: SearchJobSpec
    template: Mapping[str, Any]

    def trial(self, number: int) -> str:
        """Name of a trial's TrainingJob."""
        return f"{self.name}-{number}"

    def bench_pod(self, number: int, attempt: int) -> str:
        """Name of the pod that measures a trial; reconcile/pods/members.py knows it by this name."""
        return f"{self.name}-bench{number}-0-a{attempt}"

    @property
    def config_map(self) -> str:
        """Name of the ConfigMap with the template, for the pods that measure."""
        return f"{self.name}-search"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every child."""
        return labels.owned(KIND, self.name, self.uid)

    @property
    def owner(self) -> dict[str, Any]:
        """The reference by which children are found and cleaned up."""
        return labels.controller(SEARCH_JOBS.api_version, KIND, self.name, self.uid)


def identify(obj: Mapping[str, Any], spec: SearchJobSpec) -> SearchJob:
    """The object from the API server with its parsed spec."""
    metadata = obj["metadata"]
    return SearchJob(metadata["name"], metadata["namespace"], metadata["uid"], spec, obj["spec"]["template"])
