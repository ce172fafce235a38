"""Do the rows of a batch change each other, by the graph's own construction? Read from the ONNX file, never run.

What the graph proves either way is believed; what it leaves open is asked of the engine at warm-up.
"""

from workloads.serve.rows.state import Verdict, Word
from workloads.serve.rows.walk import verdict_of

__all__ = ["Verdict", "Word", "verdict_of"]
