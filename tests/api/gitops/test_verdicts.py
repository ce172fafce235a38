"""Argo CD's script and Flux's rules judge real runs as they happen; the recordings are of the same plays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.gitops.plays import Plays
from tests.api.operators import Operator
from tests.api.stage import Stage
from tests.unit.gitops.health import health
from tests.unit.gitops.kstatus import kstatus

pytestmark = pytest.mark.api


def test_every_state_is_told_right_while_it_lasts(stage: Stage, operators: Callable[..., Operator]) -> None:
    namespace, unwatched = stage.namespace("judged"), stage.namespace("unwatched")
    plays = Plays(stage, operators(namespace), namespace, unwatched)
    verdicts = {seen.case: ((health(seen.obj)[0], kstatus(seen.obj)), seen) for seen in plays.all()}
    assert len(verdicts) == 21
    assert {case: verdict for case, (verdict, _) in verdicts.items()} == {
        case: (seen.argocd, seen.kstatus) for case, (_, seen) in verdicts.items()
    }
