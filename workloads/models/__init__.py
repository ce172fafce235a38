"""Models that are built by name and plain arguments, never from a pickle."""

from workloads.models import rescaled
from workloads.models.registry import (
    ALLOWED,
    DETECTOR_WIDTH,
    DETECTORS,
    LANGUAGE,
    MODELS,
    PICTURES,
    TEXTS,
    WIDTH,
    Arguments,
    Boxes,
    Images,
    Masks,
    ModelModule,
    Text,
    arguments_for,
    build,
    fit,
)

__all__ = [
    "ALLOWED",
    "DETECTORS",
    "DETECTOR_WIDTH",
    "LANGUAGE",
    "MODELS",
    "PICTURES",
    "TEXTS",
    "WIDTH",
    "Arguments",
    "Boxes",
    "Images",
    "Masks",
    "ModelModule",
    "Text",
    "arguments_for",
    "build",
    "fit",
    "rescaled",
]
