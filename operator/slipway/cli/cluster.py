"""The cluster as the commands see it: a few reads through kubectl, which knows every way to log in.

`kubectl slipway` is run by kubectl itself, so kubectl is there; plugins for cloud accounts, proxies and impersonation
work as the user is used to.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

Object = dict[str, Any]
PARTIAL = ("orbidden", "doesn't have a resource type")  # in kubectl's words


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

    def run(self, *arguments: str, timeout: float | None = None) -> str:
        """Run kubectl, for `timeout` seconds at most. Raises ClusterError, subprocess.TimeoutExpired."""
        if not shutil.which(self.program):
            raise ClusterError(f"{self.program} is not installed, or not in PATH")
        words = [*self.base, *arguments]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)
        if done.returncode:
            raise ClusterError(done.stderr.strip() or f"kubectl {' '.join(arguments)} failed")
        return done.stdout

    def resources(self, *, everywhere: bool = False, timeout: float | None = None) -> list[Object]:
        """All resources of ours in the namespace, or in all: also what the lineage of one is drawn from.

        Raises ClusterError, subprocess.TimeoutExpired.
        """
        from slipway.cli.kinds import GROUP, NAMESPACED

        where = ["--all-namespaces"] if everywhere else []

        def get(plurals: Sequence[str]) -> list[Object]:
            asked = ",".join(f"{plural}.{GROUP}" for plural in plurals)
            return list(json.loads(self.run("get", asked, *where, "-o", "json", timeout=timeout))["items"])

        try:
            return get(NAMESPACED)
        except ClusterError as error:
            # Rights for some kinds only, or the CRDs of an older release: what can be read is shown.
            if not _partial(error):
                raise
            found = [_readable(partial(get, [plural])) for plural in NAMESPACED]
            if all(one is None for one in found):
                raise
            return [obj for one in found for obj in one or []]

    def patch(self, obj: Mapping[str, Any], change: Mapping[str, Any]) -> None:
        """Send a merge patch. Raises ClusterError."""
        from slipway.cli.kinds import GROUP, PLURALS

        plural = f"{PLURALS[obj['kind']]}.{GROUP}"
        self.run("patch", plural, obj["metadata"]["name"], "--type=merge", "--patch", json.dumps(change))

    def pods(self, obj: Mapping[str, Any]) -> list[Object]:
        """The pods of a resource, newest attempt first, by their place in the gang. Raises ClusterError."""
        from slipway.cli.kinds import labels

        selector = f"{labels.JOB_UID}={obj['metadata']['uid']}"
        found = json.loads(self.run("get", "pods", "-l", selector, "-o", "json"))["items"]
        return sorted(found, key=lambda pod: (-attempt(pod), index(pod), pod["metadata"]["name"]))

    def log_tail(self, pod: str, lines: int) -> str:
        """The end of a pod's log; empty where it cannot be had."""
        try:
            return self.run("logs", pod, f"--tail={lines}").rstrip()
        except ClusterError:
            return ""


def find(resources: Sequence[Object], name: str) -> Object:
    """The resource that NAME or KIND/NAME means. Raises NotThereError."""
    from slipway.cli.kinds import WORDS

    word, _, rest = name.rpartition("/")
    if word and word not in WORDS:
        raise NotThereError(f"{word} is no kind of Slipway's: {', '.join(sorted(WORDS))}")
    fitting = [o for o in resources if o["metadata"]["name"] == rest and (not word or o["kind"] == WORDS[word])]
    if not fitting:
        there = ", ".join(title(o) for o in resources) or "nothing"
        raise NotThereError(f"{name} is not there; the namespace holds {there}")
    if len(fitting) > 1:
        raise NotThereError(f"{name} may mean {' or '.join(title(o) for o in fitting)}: say which")
    return fitting[0]


def _partial(error: ClusterError) -> bool:
    return any(word in str(error) for word in PARTIAL)


def _readable(get: Callable[[], list[Object]]) -> list[Object] | None:
    """Objects of a kind; None where the user may not read it, or the server does not know it. Raises ClusterError."""
    try:
        return get()
    except ClusterError as error:
        if not _partial(error):
            raise
        return None


def title(obj: Mapping[str, Any]) -> str:
    """Short kind and name, as `find` takes it: tj/digits."""
    from slipway.cli.kinds import SHORT

    return f"{SHORT[obj['kind']]}/{obj['metadata']['name']}"


def attempt(pod: Mapping[str, Any]) -> int:
    """Number of the gang that a pod belongs to."""
    from slipway.cli.kinds import labels

    return _number(pod, labels.ATTEMPT)


def index(pod: Mapping[str, Any]) -> int:
    """Place of a pod in its gang."""
    from slipway.cli.kinds import labels

    return _number(pod, labels.REPLICA_INDEX)


def _number(pod: Mapping[str, Any], label: str) -> int:
    text = (pod["metadata"].get("labels") or {}).get(label, "0")
    return int(text) if text.isdecimal() else 0
