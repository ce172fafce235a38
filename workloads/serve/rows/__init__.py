"""Independence of a batch's rows, proved by the graph's own construction: read from the ONNX file, never run.

What the graph proves either way is believed; what it leaves open is asked of the engine at warm-up.
"""

from workloads.serve.rows.state import Verdict, Word
from workloads.serve.rows.walk import verdict_of

__all__ = ["Verdict", "Word", "verdict_of"]
