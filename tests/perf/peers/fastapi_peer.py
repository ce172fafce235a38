"""The batching server of the textbook, FastAPI: `fastapi_peer.py ONNX PORT`, POST /predict {"data": [...]}.

A queue, and one task that takes what comes within a millisecond of the first request, up to 32 rows.
"""

import asyncio
import sys
from contextlib import asynccontextmanager

import fastapi
import numpy as np
import onnxruntime
import pydantic
import uvicorn

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
queue: asyncio.Queue = asyncio.Queue()


class Row(pydantic.BaseModel):
    data: list[float]


async def batches():
    while True:
        batch = [await queue.get()]
        until = asyncio.get_running_loop().time() + 0.001
        while len(batch) < 32:
            left = until - asyncio.get_running_loop().time()
            try:
                batch.append(await asyncio.wait_for(queue.get(), max(0.0, left)))
            except TimeoutError:
                break
        rows = np.stack([row for row, _ in batch])
        answers = await asyncio.to_thread(session.run, None, {"x": rows})
        for (_, future), answer in zip(batch, answers[0], strict=True):
            if not future.done():
                future.set_result(answer)


@asynccontextmanager
async def life(_):
    task = asyncio.create_task(batches())
    yield
    task.cancel()


app = fastapi.FastAPI(lifespan=life)


@app.post("/predict")
async def predict(row: Row):
    future = asyncio.get_running_loop().create_future()
    await queue.put((np.asarray(row.data, dtype=np.float32), future))
    return {"data": (await future).tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
