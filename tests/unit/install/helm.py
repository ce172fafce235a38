"""Helm's own library, helm-python-sdk, whose wheels are for x86-64: elsewhere the tests that need it are skipped."""

from __future__ import annotations

import platform

import pytest

try:
    import helm_python
except ImportError:
    if platform.machine() == "x86_64":
        raise
    pytest.skip("helm-python-sdk has no wheel for this machine", allow_module_level=True)

__all__ = ["helm_python"]
