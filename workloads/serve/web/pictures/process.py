"""`python -m workloads.serve.web.pictures.process N`: decodes pictures that come over socket N, until it is closed.

Started by decoding.py. A decoder in Python's own process takes the interpreter again and again, and a thread that has
it and no core keeps everybody waiting.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from slipway.api.common.artifact import Preprocessing
from workloads.serve.apart.child import Answer, answer_all, bound_memory
from workloads.serve.apart.wire import Job
from workloads.serve.web.pictures.model_input import MOST_BYTES, PendingPicture, within

# Of memory beside what one picture takes: its file, and the pixels that come of it.
SPARE = 256 << 20


def begin(setup: Any) -> Callable[[Job], Answer]:
    """Decoder of pictures for the model that the setup describes."""
    how = Preprocessing.model_validate_json(orjson.dumps(setup["how"]))
    bound_memory(MOST_BYTES + setup["largest"] + SPARE)

    def decode(job: Job) -> Answer:
        started = time.process_time()
        found = within(bytes(job.parts[0]), how, int(job.headers[b"place"]), float(job.headers[b"most"]))
        if isinstance(found, PendingPicture):
            return {"cost": found.cost}, []
        pixels, way = found
        said = {"shape": pixels.shape, "way": asdict(way), "seconds": time.process_time() - started}
        return said, [memoryview(pixels.tobytes())]

    return decode


if __name__ == "__main__":
    answer_all(int(sys.argv[1]), int(sys.argv[2]), begin)
