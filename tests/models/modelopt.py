"""NVIDIA's own search of the entropy threshold, run as it is published: the reference that ours is held against.

Only that one function of the package is executed: importing the package would pull in a dozen others.
"""

import ast
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import entropy

from tests.models.catalogue import MODELOPT

FILE, NAME = "modelopt/torch/quantization/calib/histogram.py", "_compute_amax_entropy"


def entropy_threshold() -> Callable[[np.ndarray, int], int]:
    """A function from a histogram of magnitudes and the number of integers for them to the bins that are kept."""
    source = (MODELOPT.unpacked() / FILE).read_text()
    found = next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == NAME)
    known = {"np": np, "torch": torch, "Counter": Counter, "entropy": entropy}
    exec(compile(ast.Module([found], []), FILE, "exec"), known)  # the reference is code: that is the point
    compute = known[NAME]

    def threshold(counts: np.ndarray, levels: int) -> int:
        edges = np.arange(len(counts) + 1, dtype=np.float64)
        bits = levels.bit_length() - 1
        return int(compute(counts.copy(), edges, bits, True))

    return threshold
