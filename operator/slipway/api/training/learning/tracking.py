"""Experiment tracking: where a run's figures go beside its artifact. Read by the trainer and by trainingjob/pods.py."""

from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule
from slipway.api.common.types import ObjectName

# MLflow's own variables, which its client reads. A Secret has those that it needs.
URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
CREDENTIALS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


class TrackingSecret(Model):
    """A Secret of the job's namespace."""

    name: ObjectName = Field(
        description="Its keys are called as MLflow's variables: MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD."
    )


class Mlflow(Model):
    """A server of MLflow's."""

    cel: ClassVar[tuple[Rule, ...]] = uris.web()
    uri: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="The server, http:// or https://; on a laptop also file:///, MLflow's file store."
    )
    experiment: Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\s\x00-\x1f]([^\x00-\x1f]*\S)?$")] = (
        Field("Default", description="The experiment that has the run; it is made where there is none.")
    )
    secret_ref: TrackingSecret | None = Field(
        None, description="Credentials; a Secret or key that is missing costs the tracking and not the training."
    )


class Tracking(Model):
    """Services that get the run's figures. TensorBoard's event files are in the artifact in any case."""

    mlflow: Mlflow | None = Field(
        None, description="One run for the job, whatever its restarts; a command of your own gets MLflow's variables."
    )
