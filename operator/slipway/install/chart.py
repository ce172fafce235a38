"""Makes the Helm chart's templates from manifests/base: `python -m slipway.install.chart --write charts/slipway`.

What `slipway install` prints is rendered with marks in the place of names; then each mark becomes an expression of
Helm's. So the chart follows the manifests, and tests/unit/install hold that both render the same objects.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.install import chart_options, yaml_files
from slipway.install.base import shipped
from slipway.install.render import Object, Settings, bound_roles, render

_NAMESPACE, _WATCHED, _REGISTRY, _LABELS = "zznamespace", "zzwatched", "zzregistry", "zzlabels"
_HEAD = "{{- /* Made from manifests/base by `make crds`: change the manifests, not this file. */ -}}\n"
_HA = "$.Values.highAvailability"
_SUFFIX = '{{ include "slipway.suffix" $ }}'
_MANIFESTS = Path(__file__).resolve().parents[3] / "manifests"
# What a user of charts expects to set of a pod, beside what high availability sets.
_POD_FIELDS = ("imagePullSecrets", "nodeSelector", "priorityClassName")


def templates() -> dict[str, str]:
    """The text of each generated template, by its file's name."""
    parts = shipped()
    plain = _marked(render(parts.base, [], Settings(_NAMESPACE, _REGISTRY)))
    available = {_key(o): o for o in _marked(render(parts.base, parts.high_availability, _settings(available=True)))}
    split = _marked(render(parts.base, [], Settings(_NAMESPACE, _REGISTRY, watch=(_WATCHED,))))
    everywhere, known = bound_roles(plain), {_key(obj) for obj in plain}
    files: dict[str, list[str]] = {
        "rbac": [_rights(plain, split)],
        "admission-policy": [chart_options.policies(_MANIFESTS, _NAMESPACE, _LABELS)],
        "authorized-metrics": [chart_options.reviews(_MANIFESTS, _NAMESPACE, _LABELS, _SUFFIX)],
    }
    for obj in plain:
        if _key(obj) in everywhere or obj["kind"] == "Namespace":
            continue
        if obj["kind"] == "ClusterRole":
            obj["metadata"]["name"] += _SUFFIX
            files.setdefault("user-roles", []).append(_if("$.Values.userRoles", _user_role(obj)))
        elif obj["kind"] == "Deployment":
            files["operator"] = [chart_options.container(_deployment(obj, available[_key(obj)]))]
        elif obj["kind"] == "NetworkPolicy":
            text = "\n".join(_either(obj, available[_key(obj)])) + "\n"
            files.setdefault("network-policy", []).append(
                _if("$.Values.networkPolicy", chart_options.network_policy(text))
            )
        else:
            files.setdefault(_file(obj["kind"]), []).append(_dump(obj))
    for key, obj in available.items():
        if key not in known:
            files.setdefault(_file(obj["kind"]), []).append(_if(_HA, _dump(obj)))
    files["service"] = [chart_options.service("---\n".join(files["service"]))]
    return {f"{name}.yaml": _HEAD + _with_expressions("---\n".join(texts)) for name, texts in files.items()}


def _settings(*, available: bool) -> Settings:
    return Settings(_NAMESPACE, _REGISTRY, high_availability=available)


def _marked(objects: Sequence[Object]) -> list[Object]:
    for obj in objects:
        obj["metadata"].setdefault("labels", {})[_LABELS] = None
    return list(objects)


def _key(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _file(kind: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()


def _rights(plain: Sequence[Object], split: Sequence[Object]) -> str:
    """Template of the operator's rights: in the whole cluster, or in the watched namespaces."""
    everywhere = bound_roles(plain)
    here = [obj for obj in plain if _key(obj) in everywhere]
    known = {_key(obj) for obj in plain}
    there = [
        obj for obj in split if _key(obj) not in known and not _key(obj)[1].startswith(("slipway-edit", "slipway-view"))
    ]
    in_each = [obj for obj in there if obj["metadata"].get("namespace") == _WATCHED]
    once = [obj for obj in there if obj not in in_each]
    each = "".join(f"{{{{- range $.Values.watchNamespaces }}}}\n---\n{_dump(obj)}{{{{- end }}}}\n" for obj in in_each)
    return (
        f"{chart_options.EITHER}{{{{- if $.Values.watchNamespaces }}}}\n{_dump(*once)}{each}{{{{- else }}}}\n"
        f"{chart_options.bound(here, _LABELS)}{{{{- end }}}}\n"
    )


def _if(condition: str, text: str) -> str:
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"


def _user_role(role: Object) -> str:
    """Template of a user role, with the labels of manifests/components/aggregated-roles where they are asked for."""
    verb = "view" if role["metadata"]["name"].startswith("slipway-view") else "edit"
    into = ("edit", "admin") if verb == "edit" else ("view",)
    labels = "".join(f'    rbac.authorization.k8s.io/aggregate-to-{name}: "true"\n' for name in into)
    added = f"    {{{{- if $.Values.aggregateUserRoles }}}}\n{labels}    {{{{- end }}}}\n"
    return _insert_after(_dump(role), f"    {_LABELS}: null\n", added)


def _dump(*objects: Any, indent: int = 0) -> str:
    text = "---\n".join(yaml_files.written([obj], width=10_000) for obj in objects)
    return "".join(f"{' ' * indent}{line}\n" for line in text.splitlines())


def _either(plain: Object, available: Object, indent: int = 0) -> list[str]:
    """Lines of YAML that are the one object or, with high availability, the other."""
    lines: list[str] = []
    for key in (*plain, *(key for key in available if key not in plain)):
        ours, theirs = plain.get(key), available.get(key)
        if ours == theirs:
            lines += _dump({key: ours}, indent=indent).splitlines()
        elif isinstance(ours, dict) and isinstance(theirs, dict):
            lines += [f"{' ' * indent}{key}:", *_either(ours, theirs, indent + 2)]
        else:
            lines += [f"{{{{- if {_HA} }}}}", *_dump({key: theirs}, indent=indent).splitlines()]
            lines += ["{{- else }}", *_dump({key: ours}, indent=indent).splitlines()] if key in plain else []
            lines += ["{{- end }}"]
    return lines


def _deployment(plain: Object, available: Object) -> str:
    """Template of the Deployment, with what a user of charts expects to set of it and its pod."""
    pod = available["spec"]["template"]["spec"]
    tolerations, affinity = pod.pop("tolerations"), pod.pop("affinity")
    text = "\n".join(_either(plain, available)) + "\n"
    placed = "".join(_with(name, 6) for name in _POD_FIELDS) + _affinity(affinity) + _tolerations(tolerations)
    text = _insert_after(text, r"      serviceAccountName: .*\n", placed)
    text = _insert_after(text, r"        image: .*\n", "        imagePullPolicy: {{ $.Values.image.pullPolicy }}\n")
    labels = r"  template:\n    metadata:\n      labels:\n(?:        .*\n)+"
    text = _insert_after(text, labels, _with("podAnnotations", 6, "annotations"))
    settings = (
        "        {{- if $.Values.watchNamespaces }}\n"
        '        - name: SLIPWAY_NAMESPACES\n          value: {{ join "," $.Values.watchNamespaces | quote }}\n'
        "        {{- end }}\n        {{- range $name, $value := $.Values.settings }}\n"
        "        - name: {{ $name }}\n          value: {{ $value | quote }}\n        {{- end }}\n"
    )
    text = _insert_after(text, r"          value: zzregistry/server:.*\n", settings)
    resources = "        resources:\n          {{- toYaml $.Values.resources | nindent 10 }}\n"
    return _once(text, r"        resources:\n(?:          .*\n)+", resources)


def _with(value: str, indent: int, key: str = "") -> str:
    """A field that is left out where the value is empty."""
    pad = " " * indent
    shown = f"{pad}  {{{{- toYaml . | nindent {indent + 2} }}}}\n"
    return f"{pad}{{{{- with $.Values.{value} }}}}\n{pad}{key or value}:\n{shown}{pad}{{{{- end }}}}\n"


def _affinity(available: Object) -> str:
    """Template of the affinity: the user's own takes the place of that of high availability."""
    own = "      {{- if $.Values.affinity }}\n      affinity:\n        {{- toYaml $.Values.affinity | nindent 8 }}\n"
    return f"{own}      {{{{- else if {_HA} }}}}\n{_dump({'affinity': available}, indent=6)}      {{{{- end }}}}\n"


def _tolerations(available: list[Object]) -> str:
    items = f"        {{{{- if {_HA} }}}}\n{_dump(available, indent=8)}        {{{{- end }}}}\n"
    own = "        {{- with $.Values.tolerations }}\n        {{- toYaml . | nindent 8 }}\n        {{- end }}\n"
    return f"      {{{{- if or {_HA} $.Values.tolerations }}}}\n      tolerations:\n{items}{own}      {{{{- end }}}}\n"


def _insert_after(text: str, line: str, added: str) -> str:
    return _once(text, f"({line})", lambda match: match[1] + added)


def _once(text: str, pattern: str, new: Any) -> str:
    made, count = re.subn(pattern, new if callable(new) else lambda _: new, text)
    if count != 1:
        raise ValueError(f"manifests/base/operator.yaml: {pattern!r} is there {count} times, the chart knows it once")
    return made


def _with_expressions(text: str) -> str:
    text = re.sub(
        rf"^( *){_LABELS}: null$", r'\1{{- include "slipway.labels" $ | nindent 4 }}', text, flags=re.MULTILINE
    )
    text = re.sub(rf"{_REGISTRY}/(\w+):\S+", r'{{ include "slipway.image" (list $ "\1") }}', text)
    text = re.sub(rf": {_NAMESPACE}$", ": {{ $.Release.Namespace | quote }}", text, flags=re.MULTILINE)
    text = re.sub(rf": {_WATCHED}$", ": {{ . | quote }}", text, flags=re.MULTILINE)
    return text.replace(_NAMESPACE, "{{ $.Release.Namespace }}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the templates, or tell which are stale; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slipway.install.chart", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="CHART")
    parser.add_argument("--check", type=Path, metavar="CHART")
    asked = parser.parse_args(arguments)
    stale = 0
    for name, text in templates().items():
        if asked.write:
            (asked.write / "templates" / name).write_text(text)
        path = (asked.check or asked.write) / "templates" / name
        if not path.is_file() or path.read_text() != text:
            print(f"{path} is not as the manifests say: run make crds", file=sys.stderr)  # noqa: T201
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
