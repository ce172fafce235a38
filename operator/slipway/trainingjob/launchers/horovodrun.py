"""Horovod over gloo, without ssh. Static: each node starts its own processes, and node 0 keeps the rendezvous.

Elastic: horovodrun on node 0 finds the nodes that answer by a discovery script, and reaches them by an agent that
stands in for ssh.
"""

from slipway.api.training.elastic import ElasticPolicy
from slipway.api.training.memory import StrategyName
from slipway.api.training.processes import batch_problems, processes_per_node
from slipway.reconcile.podspec import CONFIG_DIR
from slipway.trainingjob import payload
from slipway.trainingjob.job import TrainingJob
from slipway.trainingjob.launchers import hosts
from slipway.trainingjob.launchers.base import Place

DISCOVER = "discover_hosts.sh"
# A host whose process died is asked again so many seconds later; without it, it would be avoided for good.
COOLDOWN = ("10", "60")


class Horovodrun:
    """`PROGRAM` in each process, with Horovod's variables."""

    def problems(self, job: TrainingJob) -> list[str]:
        """Problems: the batch must divide by the processes, at every size of the job; and Horovod divides no state."""
        if job.strategy is not None and job.strategy.name is not StrategyName.DDP:
            return [f"spec.strategy: horovodrun keeps the whole model in each process, {job.strategy.name} does not"]
        return batch_problems(job.spec, processes_per_node(job.spec))

    def command(self, job: TrainingJob, program: list[str], place: Place) -> list[str]:
        """Command of a node. Static: its own processes; elastic: horovodrun on node 0."""
        elastic = job.spec.elastic_policy
        if elastic is None:
            return ["python3", f"{CONFIG_DIR}/{payload.HOROVOD}", *program]
        each = processes_per_node(job.spec)
        bounds = ("-np", job.spec.num_nodes), ("--min-np", elastic.min_nodes), ("--max-np", elastic.max_nodes)
        counts = [word for name, nodes in bounds for word in (name, str(nodes * each))]
        found = ["--host-discovery-script", f"{CONFIG_DIR}/{DISCOVER}", "--slots-per-host", str(each)]
        again = ["--blacklist-cooldown-range", *COOLDOWN, "--reset-limit", str(elastic.max_restarts)]
        return hosts.led(place, ["horovodrun", "--gloo", *counts, *found, *again, *program])

    def env(self, job: TrainingJob, place: Place) -> dict[str, str]:
        """Variables of the node's place; the rest of Horovod's variables are set where the processes start."""
        elastic = job.spec.elastic_policy
        if elastic is not None:
            return hosts.env(job) | _elastic(job, elastic)
        shared = hosts.env(job)
        return {name: shared[name] for name in ("SLIPWAY_GANG_HOSTS", "SLIPWAY_GANG_SLOTS")} | {
            "SLIPWAY_NODE_INDEX": str(place.index),
            "SLIPWAY_RENDEZVOUS_PORT": str(job.master_port),
        }

    def files(self, job: TrainingJob) -> dict[str, str]:
        """Files. Static: the starter and the host list, in a stable order. Elastic: agent and discovery script."""
        if job.spec.elastic_policy is None:
            return {hosts.HOSTS: hosts.lines(job), payload.HOROVOD: payload.read(payload.HOROVOD)}
        return {**hosts.files(job), DISCOVER: f"#!/bin/sh\nexec python3 {hosts.AGENT} hosts\n"}

    def keyed(self, job: TrainingJob) -> bool:
        """Tell whether the pods need a key: only where node 0 starts processes on the others."""
        return job.spec.elastic_policy is not None


def _elastic(job: TrainingJob, elastic: ElasticPolicy) -> dict[str, str]:
    service = f"{job.service}.{job.namespace}.svc"
    return {"SLIPWAY_GANG_SERVICE": service, "SLIPWAY_GANG_LEAST": str(elastic.min_nodes)}
