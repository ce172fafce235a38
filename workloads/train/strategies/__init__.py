"""Strategies of training: how one model is trained by many processes."""

from workloads.train.strategies.choice import (
    CHOSEN,
    ZERO,
    choose,
    named,
)

__all__ = [
    "CHOSEN",
    "ZERO",
    "choose",
    "named",
]
