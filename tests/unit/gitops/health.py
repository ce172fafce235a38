"""Argo CD's judgement of a resource: manifests/argocd/health.lua, run by a real Lua 5.1 (Argo CD's own is 5.1, too)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lupa.lua51 import LuaRuntime

from tests.cluster.paths import REPOSITORY

ARGOCD = REPOSITORY / "manifests" / "argocd"
SCRIPT = (ARGOCD / "health.lua").read_text()


def health(obj: Mapping[str, Any]) -> tuple[str, str]:
    """(status, message). A fresh interpreter each time; no Python reaches into it."""
    lua = LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    lua.globals()["obj"] = _table(lua, obj)
    verdict = lua.execute(SCRIPT)
    return str(verdict["status"]), str(verdict["message"])


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lua.table_from({key: _table(lua, item) for key, item in value.items()})
    if isinstance(value, list):
        return lua.table_from([_table(lua, item) for item in value])
    return value
