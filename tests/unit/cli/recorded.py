"""Resources as real runs left them (manifests/argocd/testdata), and a time later than all of theirs."""

from datetime import UTC, datetime

import yaml

from tests.cluster.paths import REPOSITORY

RECORDED = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((REPOSITORY / "manifests" / "argocd" / "testdata").glob("*.yaml"))
}
NOW = datetime(2026, 12, 1, tzinfo=UTC)
