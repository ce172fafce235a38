"""A TrainingJob's gang, as slipway.gang.lifecycle asks for it: one pod per node, and rank 0 names the artifact."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial

from slipway.api.common.scheduling import GangScheduler
from slipway.api.common.types import FailurePolicy, Reason, RunPolicy
from slipway.api.exit_codes import ExitCode
from slipway.api.training.elastic import RestartScope
from slipway.api.training.trainingjob import FIXED_FIELDS, FIXED_WHILE_RUNNING, TrainingJobSpec
from slipway.gang import lifecycle
from slipway.gang import status as gang_status
from slipway.gang.state import GangState, Rules
from slipway.reconcile.plan import Delete, Keep, Notice, Plan, Write
from slipway.reconcile.pods.observed import Failure
from slipway.runtime.client.resource import CONFIGMAPS, PODS, SECRETS, SERVICES
from slipway.trainingjob import pod_groups, status
from slipway.trainingjob import pods as render
from slipway.trainingjob.job import Platform, TrainingJob
from slipway.trainingjob.launchers import launcher_of

DEFAULT_SCHEDULER = "default-scheduler"


@dataclass(frozen=True)
class TrainingGang:
    """Gang of one job on one platform."""

    job: TrainingJob
    platform: Platform

    @property
    def final_exit_codes(self) -> Mapping[int, Reason]:
        """Exit codes after which running again cannot help, with their reasons: the built-in trainer's.

        What a user's own program means by its exit codes is for failurePolicy.rules, but for the one by which the
        payload says that it has left no artifact.
        """
        if self.job.spec.recipe is not None:
            return {ExitCode.BAD_INPUT: Reason.BAD_INPUT, ExitCode.REJECTED: Reason.GATE_FAILED}
        return {ExitCode.UNFIT: Reason.BAD_INPUT} if self.job.spec.output is not None else {}

    @property
    def uid(self) -> str:
        """UID of the job."""
        return self.job.uid

    @property
    def run_policy(self) -> RunPolicy:
        """Run policy of the spec."""
        return self.job.spec.run_policy

    @property
    def failure_policy(self) -> FailurePolicy:
        """Failure policy of the spec."""
        return self.job.spec.failure_policy

    @property
    def size(self) -> int:
        """Number of pods, one per node."""
        return self.job.spec.num_nodes

    @cached_property
    def digest(self) -> str:
        """Digest of the spec without its policies."""
        return spec_digest(self.job.spec)

    def pod_name(self, index: int, attempt: int) -> str:
        """Name of the pod of node `index`."""
        return self.job.pod(index, attempt)

    def writes(self, missing: Sequence[int], attempt: int, *, first: bool) -> tuple[Write, ...]:
        """Writes of the missing pods; ConfigMap and Service go first: a pod that is there means that they are, too."""
        job = self.job
        pods = tuple(Write(PODS, partial(render.pod, job, index, attempt, self.platform)) for index in missing)
        again = attempt > 0 or not first
        config = Write(CONFIGMAPS, partial(render.config_map, job, self.platform), replace=again)
        if not first:
            # An earlier release may have made it, without a file that these pods start with.
            return config, *pods
        keys = (Write(SECRETS, render.secret(job), drawn=("key",)),) if launcher_of(job).keyed(job) else ()
        group = pod_groups.pod_group(job, attempt)
        return (
            *keys,
            *((Write(*group),) if group else ()),
            config,
            Write(SERVICES, render.service(job, attempt), replace=again),
            *pods,
        )

    def tells(self, words: str) -> bool:
        """Tell whether a pod's last words name the artifact."""
        return status.artifact_of(words) is not None

    def keeps(self, attempt: int) -> tuple[Keep, ...]:
        """The Service by which they find each other, and the ConfigMap that a restarted container mounts anew."""
        job = self.job
        service = Write(SERVICES, partial(render.service, job, attempt))
        config = Write(CONFIGMAPS, partial(render.config_map, job, self.platform))
        leads = partial(render.leads_to, job, attempt)
        return Keep(job.service, service, leads), Keep(job.config_map, config, render.is_intact)

    def leaves(self, attempt: int) -> tuple[Delete, ...]:
        """The attempt's PodGroup: its scheduler keeps it in mind as long as it is there."""
        group = pod_groups.pod_group(self.job, attempt)
        return (Delete(group[0], pod_groups.name(self.job, attempt), "", unseen=True),) if group else ()

    def succeeded(self, state: GangState) -> Plan:
        """Plan for a gang that has succeeded, and so has the job; the status takes over the artifact."""
        gang_status.count(state)
        status.artifact(state.current, state.draft)
        gang_status.complete_progress(state.draft)
        message = "all pods succeeded"
        if self.job.spec.output is not None and "artifact" not in state.draft.fields:
            message += ", but no pod named an artifact: is the trainer image the one of this release?"
        return lifecycle.end(state, state.draft.succeed(message), Notice("Normal", Reason.SUCCEEDED, message))

    def failed(self, state: GangState, failure: Failure) -> Plan | None:
        """Plan of the kind's own for a failure: None, so that the life cycle decides."""
        return None


def rules_of(spec: TrainingJobSpec, listening: datetime | None = None, *, lets_in: bool = False) -> Rules:
    """Rules that the life cycle takes from the spec beside the gang; `listening`: since when there can be reports;
    `lets_in`: whether the operator lets gangs in. Pods that wait for a scheduler with a line of its own are left there.
    """
    elastic, policy, scheduling = spec.elastic_policy, spec.failure_policy, spec.scheduling
    own = lets_in and scheduling.gang is GangScheduler.SLIPWAY and spec.pod.scheduler_name in (None, DEFAULT_SCHEDULER)
    return Rules(
        success=spec.success_policy,
        least=elastic.min_nodes if elastic else None,
        replaces=elastic is not None and policy.restart_scope is not RestartScope.JOB,
        progress_deadline=policy.progress_deadline_seconds,
        listening=listening,
        schedule_timeout=scheduling.schedule_timeout_seconds if own else None,
    )


def spec_digest(spec: TrainingJobSpec) -> str:
    """Digest of all that the pods are made from; editing the run and failure policies leaves it as it is.

    What is unset or a default is left out: a field that a later release adds must not make every running job look
    changed.
    """
    wire = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    made_from = {field: wire[field] for field in (*FIXED_FIELDS, *FIXED_WHILE_RUNNING) if field in wire}
    if spec.elastic_policy is not None:
        made_from.pop("numNodes", None)
    return "sha256:" + hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
