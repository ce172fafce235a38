"""Gate of compression: a model that lost more than the recipe allows is not published. Pure.

Called by run.py before anything is written; QuantizationJobs have gates of their own, for what they do.
"""

from collections.abc import Mapping

from slipway.api.training.compression import CompressionGate
from slipway.api.training.recipe import Recipe
from workloads.errors import GateFailed

# The figure of a task, where a higher one is better; perplexity is for those that have none of them.
FIGURES = ("accuracy", "averagePrecision50", "meanAveragePrecision", "meanIou", "r2")
LOWER = "perplexity"


def require_kept(recipe: Recipe, before: Mapping[str, float], after: Mapping[str, float]) -> None:
    """GateFailed for a model that got worse than allowed; nothing to say where there is nothing to compare with."""
    found = drop(before, after)
    if found is None:
        return
    name, lost = found
    allowed = (recipe.compression_gate or CompressionGate()).max_drop
    if lost <= allowed or allowed == 1:
        return
    whose = "before compression" if recipe.compression else "the teacher has"
    raise GateFailed(
        f"the compressed model is not published: held-out {name} {after[name]:.4f}, {before[name]:.4f} {whose}: worse "
        f"by {lost * 100:.2f} %, and recipe.compressionGate allows {allowed * 100:g} %: take less away, train longer, "
        "or set compressionGate.maxDrop"
    )


def drop(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, float] | None:
    """Name of the compared figure, and the share of it that was lost (below 0: gained); None for no common figure."""
    for name in FIGURES:
        if name in before and name in after:
            gone = before[name] - after[name]
            return name, gone / before[name] if before[name] > 0 else gone
    if before.get(LOWER) and LOWER in after and "accuracy" not in before:
        return LOWER, after[LOWER] / before[LOWER] - 1
    return None
