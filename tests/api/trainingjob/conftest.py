"""A control plane of their own, as for every group that pytest-xdist gives out: the order of groups means nothing."""

from tests.api import conftest

stage, operators, shared_operator = conftest.stage, conftest.operators, conftest.shared_operator
