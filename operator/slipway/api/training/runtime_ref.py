"""Reference of a TrainingJob to a runtime, and the copy of that runtime in the job's status."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.common.base import Model, StatusModel
from slipway.api.common.types import ObjectName

# A copy is in the status of each job: a runtime is settings, and scripts and data have other places.
MOST_BYTES = 32 * 1024


class RuntimeKind(StrEnum):
    """Kind of a runtime: of the job's namespace, or of the cluster."""

    TRAINING_RUNTIME = "TrainingRuntime"
    CLUSTER_TRAINING_RUNTIME = "ClusterTrainingRuntime"


class RuntimeRef(Model):
    """Runtime whose settings a job takes where it has none of its own."""

    kind: RuntimeKind = Field(
        RuntimeKind.CLUSTER_TRAINING_RUNTIME, description="TrainingRuntime: one of the job's own namespace."
    )
    name: ObjectName = Field(description="Its name.")


class RuntimeStatus(StatusModel):
    """Copy of the runtime, taken when the job was first looked at: later edits of the runtime don't reach the job."""

    kind: Annotated[str, Field(max_length=63)] = Field(description="Its kind.")
    name: Annotated[str, Field(max_length=253)] = Field(description="Its name.")
    uid: Annotated[str, Field(max_length=63)] = Field("", description="Its UID.")
    generation: Annotated[int, Field(ge=0, le=2**53)] = Field(0, description="Its metadata.generation at that time.")
    settings: Annotated[str, Field(max_length=MOST_BYTES)] = Field(
        "", description="What its spec said that is no default, as JSON."
    )
