"""Kinds by the words that a person may use. With it come the models of all kinds, so commands import it late."""

from slipway.api.codegen.crd import KINDS
from slipway.api.common.types import GROUP
from slipway.reconcile import labels

__all__ = ["GROUP", "NAMESPACED", "PLURALS", "SHORT", "WORDS", "labels"]

PLURALS = {kind.kind: kind.plural for kind in KINDS}
SHORT = {kind.kind: kind.short for kind in KINDS}
# A tenant may see what is in a namespace; a ClusterTrainingRuntime is none of its own.
NAMESPACED = [kind.plural for kind in KINDS if kind.namespaced]
# What a person may write before the slash.
WORDS = {word: kind.kind for kind in KINDS for word in (kind.kind.lower(), kind.plural, kind.singular, kind.short)}
