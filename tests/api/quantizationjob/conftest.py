"""QuantizationJobs on the common stage."""

from __future__ import annotations

import pytest

from tests.api.quantizationjob.jobs import Jobs
from tests.api.stage import Stage


@pytest.fixture(scope="package")
def jobs(stage: Stage) -> Jobs:
    """Words for what these tests do to the cluster."""
    return Jobs(stage)
