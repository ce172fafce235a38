"""Refusals among the server's answers, and what people are told of them. Pure; for execute.py and the kinds."""

import re

from slipway.api.common.types import Reason
from slipway.runtime.client.errors import ApiError, Conflict, Forbidden, Terminal, Transient

# As RBAC says it; admission plugins begin in the same way.
_NO_RIGHT = re.compile(r'is forbidden: User "[^"]*" cannot [a-z]+ resource')
# Webhooks and ValidatingAdmissionPolicies refuse by whatever code their authors chose: 400, 403, 422. A webhook that
# cannot be reached refuses, too, by 500.
_DENIED = re.compile(r"denied (the )?request|failed calling webhook")


def refused_in_words(error: ApiError) -> str | None:
    """Server's words where a quota, a role or a policy does not let an object be made; None for other errors.

    It may pass without an edit of the job: quotas free up, and policies change.
    """
    if isinstance(error, Forbidden):
        return refusal(error)
    return error.message if _DENIED.search(error.message) else None


def refusal(error: Forbidden) -> str:
    """The server's words, and what to do where it is a role that is missing and no quota or policy."""
    if not _NO_RIGHT.search(error.message):
        return error.message
    return f"{error.message}: if namespaces are bound one by one, bind ClusterRole slipway-tenant in this one"


def tellable(error: Exception) -> tuple[str, str] | None:
    """An error's reason and words for a condition; None for what passes by itself and nobody can act on."""
    if isinstance(error, Transient | Terminal):
        return (error.reason, error.message) if error.reason != Reason.PENDING else None
    if isinstance(error, ApiError):
        passing = isinstance(error, Conflict) or error.status in {0, 429} or error.status >= 500
        return (
            None if passing else (Reason.API_ERROR, refusal(error) if isinstance(error, Forbidden) else error.message)
        )
    return Reason.RECONCILE_ERROR, f"{type(error).__name__}: {error}"
