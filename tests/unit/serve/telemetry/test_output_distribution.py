"""The outputs' distribution: what a canary's drift is computed from."""

import numpy as np

from workloads.serve.datatypes import Datatype
from workloads.serve.signature import Signature, Tensor
from workloads.serve.telemetry.metrics import Metrics
from workloads.serve.telemetry.output_distribution import PAUSE_SECONDS, Sketch, bins_of

SIGNATURE = Signature((Tensor("x", Datatype.FP32, ("batch", 4)),), (Tensor("scores", Datatype.FP32, ("batch", 3)),))


def test_a_classifiers_rows_are_counted_by_class():
    scores = np.array([[0.1, 0.8, 0.1], [0.9, 0.0, 0.1], [0.2, 0.5, 0.3]], np.float32)
    assert bins_of(scores) == {"0": 1, "1": 2}


def test_other_outputs_are_counted_by_sign_and_power_of_two():
    rows = np.array([[[3.0]], [[-0.3]], [[np.nan]], [[0.0]]])
    assert bins_of(rows) == {"+2^2": 1, "-2^-1": 1, "nan": 1, "+2^0": 1}
    assert bins_of(np.array([5, 5, 9], np.int64)) == {"+2^3": 2, "+2^4": 1}
    assert not bins_of(np.array([b"a"], object))
    assert not bins_of(np.zeros((0, 3), np.float32))


def test_only_so_many_batches_are_looked_at():
    now = [0.0]
    sketch = Sketch(SIGNATURE, lambda: now[0])
    batch = [np.eye(3, dtype=np.float32)]
    for _ in range(10):
        sketch.see(batch)
    assert sketch.counts() == {"0": 1, "1": 1, "2": 1}
    now[0] += PAUSE_SECONDS
    sketch.see(batch)
    assert sketch.counts() == {"0": 2, "1": 2, "2": 2}


def test_prometheus_reads_it_once_there_is_a_model():
    metrics = Metrics()
    assert b"slipway_outputs" not in metrics.text()
    metrics.sketch = Sketch(SIGNATURE)
    metrics.sketch.see([np.eye(3, dtype=np.float32)])
    assert b'slipway_outputs_total{bin="2",output="scores"} 1.0' in metrics.text()
