"""The pods of one stage, as slipway.gang.lifecycle asks for them. Their last words name the next stage."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from slipway.api.common.types import FailurePolicy, Reason, RunPolicy
from slipway.api.exit_codes import ExitCode
from slipway.api.quantization.quantizationjob import FIXED_FIELDS
from slipway.api.quantization.status import SHARDED, Outcome, Stage, StageResult
from slipway.gang import lifecycle
from slipway.gang import status as gang_status
from slipway.gang.policy.restart import restart_or_fail
from slipway.gang.state import GangState
from slipway.quantizationjob import conditions as proof
from slipway.quantizationjob import pods as render
from slipway.quantizationjob import status
from slipway.quantizationjob.job import Platform, QuantizationJob
from slipway.reconcile.plan import Delete, Keep, Notice, Plan, Write
from slipway.reconcile.pods.observed import Failure
from slipway.runtime import conditions
from slipway.runtime.client.resource import CONFIGMAPS, PODS

# How `python -m workloads quantize` ends when the job is wrong, and when no candidate passes the gates.
BAD_INPUT_CODE, REJECTED_CODE = ExitCode.BAD_INPUT, ExitCode.REJECTED


@dataclass(frozen=True)
class StageGang:
    """One stage of one job on one platform; `step` is its number in the order they run."""

    job: QuantizationJob
    stage: Stage
    step: int
    platform: Platform

    @property
    def final_exit_codes(self) -> Mapping[int, Reason]:
        """Exit codes after which running again cannot help; that a gate has failed is believed of figures alone."""
        return {BAD_INPUT_CODE: Reason.BAD_INPUT, REJECTED_CODE: Reason.BAD_INPUT}

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
        """Number of pods: sharded stages have `parallelism`, the others one."""
        return self.job.spec.parallelism if self.stage in SHARDED else 1

    @property
    def digest(self) -> str:
        """Digest of the spec without its policies; defaults are left out, so that a later release may add fields."""
        wire = self.job.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        made_from: dict[str, Any] = {field: wire.get(field) for field in (*FIXED_FIELDS, "worker", "pod")}
        return "sha256:" + hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def pod_name(self, index: int, attempt: int) -> str:
        """The name of one shard's pod."""
        return self.job.pod(self.step, index, attempt)

    def writes(self, missing: Sequence[int], attempt: int, *, first: bool) -> tuple[Write, ...]:
        """Writes of the missing pods; before the first ones of an attempt comes the ConfigMap."""
        pods = tuple(
            Write(PODS, render.pod(self.job, self.stage, self.step, index, attempt, self.platform)) for index in missing
        )
        if not first:
            return pods
        return (Write(CONFIGMAPS, render.config_map(self.job, self.platform), replace=attempt > 0), *pods)

    def tells(self, words: str) -> bool:
        """Tell whether a pod's last words name what comes after this stage."""
        result = status.result_of(words)
        return result is not None and result.next is not self.stage

    def keeps(self, attempt: int) -> tuple[Keep, ...]:
        """The ConfigMap, from which the pods of later stages start."""
        config = Write(CONFIGMAPS, partial(render.config_map, self.job, self.platform))
        return (Keep(self.job.config_map, config, render.is_intact),)

    def leaves(self, attempt: int) -> tuple[Delete, ...]:
        """Nothing: its objects are of all attempts."""
        return ()

    def succeeded(self, state: GangState) -> Plan:
        """Plan for a stage that has succeeded: on to the stage that the pods name, or the end."""
        gang_status.count(state)
        results = [result for pod in state.current if (result := status.result_of(pod.termination_message))]
        if not results:
            message = f"stage {self.stage} succeeded without a word: is the quantizer image the one of this release?"
            return self._end_badly(state, Reason.BAD_INPUT, message)
        # Whoever ended before its peers saw their shards unfinished, and named this very stage.
        result = next((r for r in results if r.next is not self.stage), None)
        if result is None:
            return self._again(state)
        if result.next is None and result.outcome is None:
            message = f"stage {self.stage} named neither a next stage nor an outcome: {result.message}"
            return self._end_badly(state, Reason.BAD_INPUT, message)
        status.carry(result, state.draft)
        proof.of_stage(result, self.job.spec.ladder, state.draft, self.job.spec.optimize_for)
        return self._finish(state, result) if result.next is None else self._go_on(state, result, result.next)

    def _go_on(self, state: GangState, result: StageResult, following: Stage) -> Plan:
        status.begin(following, self.step + 1, state.draft)
        state.draft.next_attempt().unset("backoff")
        message = f"{result.message}; next: {following}"
        state.draft.progressing(Reason.STAGE_DONE, message).condition("Running", "False", Reason.STAGE_DONE, message)
        state.draft.without("Restarting")
        return Plan(status=state.draft.done(), persist_first=True)

    def _again(self, state: GangState) -> Plan:
        """All pods succeeded, and each says that the stage is not done: none has seen what the others left.

        A network file system may show a new file late, which the next attempt finds; or there is no common folder.
        """
        message = f"no pod of stage {self.stage} found the others' results: is work.uri one folder for all nodes?"
        failure = Failure(state.current[0].name, "", "", None, "", Reason.ERROR, message, state.now)
        draft = restart_or_fail(self.failure_policy, failure, state.draft)
        if draft.run.finished:
            given_up = conditions.get(draft.fields["conditions"], "Failed") or {}
            return lifecycle.end(state, draft, Notice("Warning", given_up["reason"], message))
        return Plan(status=draft.done(), persist_first=True, notices=(Notice("Warning", Reason.RESTARTING, message),))

    def _finish(self, state: GangState, result: StageResult) -> Plan:
        gang_status.complete_progress(state.draft)
        proof.of_job(result, self.job.spec.ladder, state.draft, self.job.spec.optimize_for)
        message = result.message or "done"
        return lifecycle.end(state, state.draft.succeed(message), Notice("Normal", Reason.SUCCEEDED, message))

    def _end_badly(self, state: GangState, reason: Reason, message: str) -> Plan:
        return lifecycle.end(state, state.draft.fail(reason, message), Notice("Warning", reason, message))

    def failed(self, state: GangState, failure: Failure) -> Plan | None:
        """Plan for a stage in which no candidate passes: the job has failed, and its report says why in figures.

        None for any other failure.
        """
        if failure.exit_code != REJECTED_CODE:
            return None
        pod = next((pod for pod in state.current if pod.name == failure.pod), None)
        result = status.result_of(pod.termination_message) if pod is not None else None
        if result is None or result.outcome is not Outcome.REJECTED:
            return None
        status.carry(result, state.draft)
        proof.of_stage(result, self.job.spec.ladder, state.draft, self.job.spec.optimize_for)
        proof.of_job(result, self.job.spec.ladder, state.draft, self.job.spec.optimize_for)
        gang_status.complete_progress(state.draft)
        return self._end_badly(state, Reason.GATE_FAILED, f"no candidate passes the gates: {result.message}")
