"""The same stage as for tests/api."""

from tests.api import conftest

stage, operators, namespace, name = conftest.stage, conftest.operators, conftest.namespace, conftest.name
leaves_nothing_behind = conftest.leaves_nothing_behind
