"""The models as CRDs: `python -m slipway.api.codegen.crd --write crds/`, and `--check crds/`, which is the golden test.

A new kind is one more entry of KINDS.
"""

import re
import sys
from typing import Any

import yaml

from slipway.api.codegen.generated import command
from slipway.api.codegen.schema import structural, validations
from slipway.api.common.kind import Column, Kind
from slipway.api.common.types import GROUP, VERSION
from slipway.api.quantization import quantizationjob
from slipway.api.search import searchjob
from slipway.api.serving import inferenceservice
from slipway.api.training import runtime, trainingjob

KINDS: tuple[Kind, ...] = (trainingjob.KIND, quantizationjob.KIND, inferenceservice.KIND, searchjob.KIND)
# What jobs refer to, and no controller works on.
TEMPLATES: tuple[Kind, ...] = (runtime.NAMESPACED, runtime.CLUSTER)

HEADER = "# Generated from slipway/api by `make crds`: change the models, not this file.\n"
# Go's YAML reads these bare words as booleans and numbers where PyYAML does not.
AMBIGUOUS = re.compile(r"^([yYnN]|[-+.]?[0-9].*)$")


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, as the API server's JSON."""
    subresources: dict[str, Any] = {"status": {}} if kind.status is not None else {}
    if kind.scale is not None:
        subresources["scale"] = {
            "specReplicasPath": kind.scale.spec,
            "statusReplicasPath": kind.scale.status,
            "labelSelectorPath": kind.scale.selector,
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short],
                "categories": ["ml"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": root_schema(kind)},
                }
            ],
        },
    }


def root_schema(kind: Kind) -> dict[str, Any]:
    """The schema of the whole object: names are bounded here too, because pods and labels are named after it."""
    root: dict[str, Any] = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": kind.name_length, "pattern": kind.name_pattern}},
            },
            "spec": structural(kind.spec),
        },
    }
    if kind.status is not None:
        root["properties"]["status"] = {**structural(kind.status), "default": kind.default_status}
    if kind.rules:
        root["x-kubernetes-validations"] = validations(kind.rules)
    return root


def _column(column: Column) -> dict[str, Any]:
    result: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        result["description"] = column.description
    if column.priority:
        result["priority"] = column.priority
    return result


class _Dumper(yaml.SafeDumper):
    """No anchors, and quotes around whatever Go's YAML would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if AMBIGUOUS.match(value) else None)


_Dumper.add_representer(str, _string)


def render(kind: Kind) -> str:
    """The CRD's file."""
    return HEADER + yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=160, allow_unicode=True)


def files() -> dict[str, str]:
    """Every generated file by name: one per kind, and the kustomization that lists them."""
    definitions = {f"{kind.plural}.yaml": render(kind) for kind in (*KINDS, *TEMPLATES)}
    listed = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(definitions),
    }
    return {**definitions, "kustomization.yaml": HEADER + yaml.dump(listed, Dumper=_Dumper, sort_keys=False)}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return command("slipway.api.codegen.crd", __doc__, files(), HEADER, arguments)


if __name__ == "__main__":
    sys.exit(main())
