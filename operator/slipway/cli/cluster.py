"""The cluster as the commands see it: a few reads through kubectl, which knows every way to log in.

`kubectl slipway` is run by kubectl itself, so kubectl is there; plugins for cloud accounts, proxies and impersonation
work as the user is used to.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.api.common.kind import Kind

Object = dict[str, Any]


class ClusterError(Exception):
    """Failure to run kubectl; the text is kubectl's own, if it has any."""


class NotThereError(Exception):
    """No resource of that name, or more than one."""


@dataclass(frozen=True)
class Cluster:
    """One kubeconfig, context and namespace; empty means kubectl's own choice."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    program: str = field(default="kubectl")

    @property
    def base(self) -> list[str]:
        """kubectl and its global options."""
        options = {"kubeconfig": self.kubeconfig, "context": self.context, "namespace": self.namespace}
        return [self.program, *(f"--{name}={value}" for name, value in options.items() if value)]

    def run(self, *arguments: str) -> str:
        """Run kubectl. Raises ClusterError."""
        if not shutil.which(self.program):
            raise ClusterError(f"{self.program} is not installed, or not in PATH")
        done = subprocess.run([*self.base, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(done.stderr.strip() or f"kubectl {' '.join(arguments)} failed")
        return done.stdout

    def resources(self) -> list[Object]:
        """All resources of ours in the namespace: also what the lineage of one is drawn from. Raises ClusterError."""
        from slipway.api.common.types import GROUP

        plurals = ",".join(f"{kind.plural}.{GROUP}" for kind in _kinds())
        return list(json.loads(self.run("get", plurals, "-o", "json"))["items"])

    def pods(self, obj: Mapping[str, Any]) -> list[Object]:
        """The pods of a resource, newest attempt first. Raises ClusterError."""
        from slipway.reconcile import labels

        selector = f"{labels.JOB_UID}={obj['metadata']['uid']}"
        found = json.loads(self.run("get", "pods", "-l", selector, "-o", "json"))["items"]
        return sorted(found, key=lambda pod: (-_attempt(pod), pod["metadata"]["name"]))

    def log_tail(self, pod: str, lines: int) -> str:
        """The end of a pod's log; empty where it cannot be had."""
        try:
            return self.run("logs", pod, f"--tail={lines}").rstrip()
        except ClusterError:
            return ""


def find(resources: Sequence[Object], name: str) -> Object:
    """The resource that NAME or KIND/NAME means. Raises NotThereError."""
    word, _, rest = name.rpartition("/")
    words = _words()
    if word and word not in words:
        raise NotThereError(f"{word} is no kind of Slipway's: {', '.join(sorted(words))}")
    fitting = [o for o in resources if o["metadata"]["name"] == rest and (not word or o["kind"] == words[word])]
    if not fitting:
        there = ", ".join(_title(o) for o in resources) or "nothing"
        raise NotThereError(f"{name} is not there; the namespace holds {there}")
    if len(fitting) > 1:
        raise NotThereError(f"{name} may mean {' or '.join(_title(o) for o in fitting)}: say which")
    return fitting[0]


def _kinds() -> "tuple[Kind, ...]":
    # With them come the models of all kinds, which `slipway --help` does without.
    from slipway.api.codegen.crd import KINDS

    return KINDS


def _words() -> dict[str, str]:
    """Kinds by what a person may write before the slash."""
    return {
        word: kind.kind for kind in _kinds() for word in (kind.kind.lower(), kind.plural, kind.singular, kind.short)
    }


def _title(obj: Mapping[str, Any]) -> str:
    short = next(kind.short for kind in _kinds() if kind.kind == obj["kind"])
    return f"{short}/{obj['metadata']['name']}"


def _attempt(pod: Mapping[str, Any]) -> int:
    from slipway.reconcile import labels

    text = (pod["metadata"].get("labels") or {}).get(labels.ATTEMPT, "0")
    return int(text) if text.isdigit() else 0
