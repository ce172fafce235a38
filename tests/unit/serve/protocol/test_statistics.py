"""The statistics and configuration extensions, as load generators read them between two measurements."""

from __future__ import annotations

import asyncio

from tests.unit.serve.serving import POISON, serving
from workloads.serve.batcher import Limits


async def test_statistics_grow_by_what_was_asked() -> None:
    async with serving(seconds=0.02, limits=Limits(max_batch_size=4)) as server:
        _, before = await server.get("/v2/models/m/stats")
        assert before["model_stats"][0]["inference_stats"]["success"] == {"count": 0, "ns": 0}
        await asyncio.gather(*(server.infer([[1.0], [2.0]]) for _ in range(5)))
        await server.infer([POISON])
        for path in ("/v2/models/m/stats", "/v2/models/m/versions/1/stats", "/v2/models/stats"):
            status, said = await server.get(path)
            assert status == 200
            (model,) = said["model_stats"]
            assert (model["name"], model["version"], model["inference_count"]) == ("m", "1", 11)
            assert model["execution_count"] == len(server.engine.batches) - 1, "a test of the engine is none"
            found = model["inference_stats"]
            assert (found["success"]["count"], found["fail"]["count"], found["queue"]["count"]) == (5, 1, 6)
            assert found["compute_infer"]["count"] == 6
            assert found["compute_infer"]["ns"] >= 6 * 0.02 * 1e9
            assert found["success"]["ns"] >= 5 * 0.02 * 1e9
            assert model["last_inference"] > before["model_stats"][0]["last_inference"]


async def test_the_configuration_has_no_batch_axis_where_rows_are_batched() -> None:
    async with serving(limits=Limits(max_batch_size=4, max_queue_delay=0.002)) as server:
        status, said = await server.get("/v2/models/m/config")
        assert status == 200
        assert (said["max_batch_size"], said["dynamic_batching"]) == (4, {"max_queue_delay_microseconds": 2000})
        assert said["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}]
        _, metadata = await server.get("/v2")
        assert {"statistics", "model_configuration"} <= set(metadata["extensions"])
    async with serving(limits=Limits(max_batch_size=1)) as server:
        _, said = await server.get("/v2/models/m/config")
        assert (said["max_batch_size"], said["input"][0]["dims"]) == (0, [-1, -1])
        assert "dynamic_batching" not in said


async def test_a_server_that_loads_has_neither_yet() -> None:
    async with serving(load=False) as server:
        for path in ("stats", "config"):
            assert (await server.get(f"/v2/models/m/{path}"))[0] == 503
