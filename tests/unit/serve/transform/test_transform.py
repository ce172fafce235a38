"""Own code around the model: what it does in its process ends one request, in words, and no other."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import yaml

from slipway.api.serving.transform import TensorDatatype, TensorForm
from tests.unit.runtime.waiting import until
from tests.unit.serve.grpc.test_grpc import INFER, listening
from tests.unit.serve.serving import Serving, serving
from workloads.serve.batcher import Limits
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.run import drain
from workloads.serve.settings import Settings, TransformChoice

OWN = "tests.unit.serve.transform.own_code"
ROOT = Path(__file__).resolve().parents[4]
TEXT = TensorForm(name="text", datatype=TensorDatatype.BYTES, shape=[-1])
SAID = TensorForm(name="said", datatype=TensorDatatype.BYTES, shape=[-1])
TEXTS = TransformChoice(f"{OWN}:texts_to_rows", f"{OWN}:with_context", "", (TEXT,), (SAID,), memory=512 << 20)
BOTH = TransformChoice(f"{OWN}:plus_one", f"{OWN}:negative", workers=1)
LIMITS = Limits(max_batch_size=8, default_timeout=20)


@asynccontextmanager
async def texts(choice: TransformChoice = TEXTS, limits: Limits = LIMITS) -> AsyncIterator[Serving]:
    async with serving(limits=limits, transform=choice) as server:
        yield server


async def ask(server: Serving, *words: str, **rest) -> tuple[int, str | list]:
    """The said texts, or the error's words."""
    document = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(words)], "data": list(words)}], **rest}
    async with server.client.post(f"{server.base}/v2/models/m/infer", json=document) as reply:
        body = await reply.json()
        return reply.status, body["outputs"][0]["data"] if reply.status == 200 else body["error"]


def message(*words: str) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[len(words)])
    tensor.contents.bytes_contents.extend(word.encode() for word in words)
    return pb.ModelInferRequest(model_name="m", inputs=[tensor])


async def test_texts_over_rest_grpc_and_predict_become_rows_and_words() -> None:
    async with texts() as server, listening(server) as (grpc_server, client):
        grpc_server.tells_time = True
        assert await ask(server, "1", "2.5") == (200, ["1:2", "2.5:5"])
        call = client._channel.unary_unary(INFER, lambda m: m.SerializeToString(), pb.ModelInferResponse.FromString)
        under_way = call(message("4"))
        reply = await under_way
        assert reply.outputs[0].name == "said"
        assert reply.raw_output_contents[0] == b"\x03\0\0\x004:8"
        told = dict(await under_way.trailing_metadata())["server-timing"]
        assert all(f"{name};dur=" in told for name in ("queue", "compute", "preprocess", "postprocess"))
        for body, kind in ((b"7", "text/plain"), (b"7", "image/png"), (b'{"texts": ["7"]}', "application/json")):
            headers = {"Content-Type": kind}
            async with server.client.post(f"{server.base}/predict", data=body, headers=headers) as answer:
                said = await answer.json()
                assert said["predictions"] == [{"said": "7:14"}], said
                assert said["timing"]["preprocessMs"] > 0
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(message("ValueError"))
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        _, metadata = await server.get("/v2/models/m")
        assert [one["name"] for one in metadata["inputs"] + metadata["outputs"]] == ["text", "said"]
        assert metadata["properties"]["preprocess"] == f"{OWN}:texts_to_rows"


async def test_without_tensors_of_their_own_the_model_s_are_asked_and_given() -> None:
    async with serving(transform=BOTH) as server:
        status, body, _ = await server.infer([1.0, 2.0])
        assert (status, body["outputs"][0]["data"]) == (200, [-4.0, -6.0])
        async with server.client.post(f"{server.base}/predict", json={"rows": [[1.0], [2.0]]}) as answer:
            assert (await answer.json())["predictions"] == [[-4.0], [-6.0]]
        assert (await server.infer([]))[0] == 400


async def test_requests_share_batches_and_everyone_gets_their_own_rows() -> None:
    async with serving(seconds=0.05, limits=LIMITS, transform=TEXTS) as server:
        replies = await asyncio.gather(*(ask(server, str(number)) for number in range(40)))
        assert replies == [(200, [f"{number}:{2 * number}"]) for number in range(40)]
        assert any(rows > 1 for rows, _ in server.engine.batches)


WRONG = [
    ("ValueError", 400, "preprocess: as it was asked"),
    ("no text", 400, "preprocess: ? is half of a character"),
    ("KeyError", 500, "failed with KeyError"),
    ("SystemExit", 500, "failed with SystemExit"),
    ("KeyboardInterrupt", 500, "failed with KeyboardInterrupt"),
    ("recursion", 500, "failed with RecursionError"),
    ("huge", 500, "gave 167772160 bytes, more than the 67108864 of protocol.maxBodyMiB"),
    ("kind", 500, "'x' of float64, not float32 (FP32): convert it by astype"),
    ("shape", 500, "'x' of shape [1, 2, 3], not [-1, -1]"),
    ("no rows", 500, "there is no row in it"),
    ("rows", 500, "a request of 1000 rows: this model takes 1 to 8"),
    ("name", 500, "gave ['z'], not ['x']"),
    ("nothing", 500, "gave 'x' as NoneType"),
    ("objects", 500, "'x' of object"),
    ("ragged", 500, "no array of FP32"),
    ("context", 500, "not JSON"),
]
FATAL = [
    ("exit", 500, "ended with exit code 0"),
    ("child", 500, "ended with exit code 5"),
    ("segfault", 500, "was ended by SIGSEGV"),
    ("leak", 500, "more memory than transform.memory"),
    ("garbage", 500, "the process that ran the service's preprocess"),
]


@pytest.mark.parametrize(("deeds", "restarts"), [(WRONG, 0), (FATAL, len(FATAL))])
async def test_what_own_code_does_wrong_ends_its_own_request(deeds: list, restarts: int) -> None:
    async with texts() as server:
        for what, status, words in deeds:
            neighbours = [ask(server, str(number)) for number in range(10)]
            first, *others = await asyncio.gather(ask(server, what), *neighbours)
            assert first[0] == status, first
            assert words in first[1]
            assert others == [(200, [f"{number}:{2 * number}"]) for number in range(10)], what
            assert server.app.ready
            assert await ask(server, "3") == (200, ["3:6"])
        failed = sum(status == 500 for _, status, _ in deeds)
        text = server.app.metrics.text().decode()
        assert f'slipway_inferences_total{{outcome="failed",route="infer"}} {failed}.0' in text
        assert f'slipway_rejected_total{{reason="transform"}} {failed}.0' in text
        calls = server.app.metrics.transforms
        assert calls["preprocess", "transform"] == failed - (2 if deeds is WRONG else 0)  # rows are counted later
        await until(lambda: server.app.service.transform.workers.restarts == restarts)


async def test_large_requests_and_answers_pass_through_own_code() -> None:
    async with texts(TransformChoice(f"{OWN}:plus_one", f"{OWN}:negative", workers=1)) as server:
        rows = np.arange(8 * 20_000, dtype=np.float32).reshape(8, -1)
        status, body, _ = await server.infer(rows)
        assert status == 200
        assert np.array_equal(body["outputs"][0]["data"], (-(rows + 1) * 2).reshape(-1))
    async with texts(TransformChoice(f"{OWN}:long_texts", inputs=(TEXT,))) as server:
        words = ["é" * (number % 5) for number in range(20_000)]
        assert await ask(server, *words) == (200, [2.0 * 2 * sum(map(len, words))])


async def test_a_print_is_the_log_s_and_not_the_answer_s(capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(transform=TransformChoice(TEXTS.preprocess, inputs=(TEXT,))) as server:
        assert await ask(server, "print") == (200, [2.0])
    out, err = capfd.readouterr()
    assert "to the standard output" not in out
    assert "to the standard output" in err
    assert "to the standard error" in err


async def test_a_value_error_after_the_model_is_the_service_s() -> None:
    async with serving(transform=TransformChoice(postprocess=f"{OWN}:bad_after")) as server:
        status, body, _ = await server.infer([1.0])
        assert status == 500
        assert "postprocess failed with ValueError" in body["error"]
        assert "nobody" not in body["error"]


async def test_a_hang_is_504_its_process_is_replaced_and_neighbours_do_not_wait() -> None:
    limits = Limits(max_batch_size=8, default_timeout=4)
    async with texts(limits=limits) as server:
        workers = server.app.service.transform.workers
        before = set(workers.numbers)
        hung = asyncio.ensure_future(ask(server, "hang", parameters={"timeout": 500_000}))
        await until(lambda: workers.busy == 1)
        for number in range(20):
            assert await ask(server, str(number)) == (200, [f"{number}:{2 * number}"])
        assert not workers.restarts  # so fast that the hang had not been given up
        status, words = await hung
        assert status == 504
        assert "0.5 s were over while it was in preprocess" in words
        await until(lambda: workers.restarts == 1 and workers.busy == 0, 60)
        (gone,) = before - set(workers.numbers)
        with pytest.raises(ProcessLookupError):
            os.kill(gone, 0)


async def test_a_client_s_short_time_kills_no_worker() -> None:
    async with texts() as server:
        workers = server.app.service.transform.workers
        before = workers.numbers
        replies = await asyncio.gather(*(ask(server, "1", parameters={"timeout": 1}) for _ in range(20)))
        assert {status for status, _ in replies} == {504}
        assert await ask(server, "1") == (200, ["1:2"])
        assert workers.numbers == before


async def test_a_client_that_is_gone_frees_its_place() -> None:
    async with texts(limits=Limits(default_timeout=60)) as server:
        workers = server.app.service.transform.workers
        hung = [asyncio.ensure_future(ask(server, "hang")) for _ in range(5)]
        await until(lambda: workers.busy == 2 and workers.waiting == 3)
        for one in hung:
            one.cancel()
        await until(lambda: workers.waiting == 0)
        await until(lambda: server.app.metrics.ends["abandoned"] == 5)


async def test_what_waits_for_a_worker_is_bounded() -> None:
    async with texts(limits=Limits(max_batch_size=2, max_queue_size=4, default_timeout=2)) as server:
        statuses = [status for status, _ in await asyncio.gather(*(ask(server, "hang") for _ in range(12)))]
        assert sorted(statuses) == [429] * 6 + [504] * 6


async def test_the_loop_goes_on_while_own_code_works() -> None:
    async with texts(limits=Limits(default_timeout=3)) as server:
        hung = asyncio.ensure_future(ask(server, "hang"))
        longest, last = 0.0, time.monotonic()
        while not hung.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert longest < 1.5


async def test_a_drain_answers_what_is_in_own_code(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef f(inputs):\n    time.sleep(1)\n    return inputs\n")
    async with serving(transform=TransformChoice("slow:f", path=str(tmp_path))) as server:
        app = server.app
        asked = asyncio.ensure_future(server.infer([1.0]))
        await until(lambda: app.service.transform.workers.busy == 1)
        numbers = app.service.transform.workers.numbers
        await drain(app.life, server.http, None, app.service, Settings("m", readiness_lead=0))
        status, body, _ = await asked
        assert (status, body["outputs"][0]["data"]) == (200, [2.0])
        for number in numbers:
            with pytest.raises(ProcessLookupError):
                os.kill(number, 0)


async def test_the_example_s_own_code_runs(tmp_path: Path) -> None:
    code, service = yaml.safe_load_all((ROOT / "manifests/examples/inferenceservice-transform.yaml").read_text())
    for name, text in code["data"].items():
        (tmp_path / name).write_text(text)
    asked = service["spec"]["predictor"]["transform"]
    forms = [tuple(TensorForm(**one) for one in asked[side]) for side in ("inputs", "outputs")]
    choice = TransformChoice(asked["preprocess"], asked["postprocess"], str(tmp_path), *forms)
    async with serving(transform=choice) as server:
        body = b'{"texts": ["1 2 9 4", "9 0 0 0"]}'
        headers = {"Content-Type": "application/json"}
        async with server.client.post(f"{server.base}/predict", data=body, headers=headers) as answer:
            said = await answer.json()
        assert said["predictions"] == [{"flower": "virginica"}, {"flower": "setosa"}], said
        async with server.client.post(
            f"{server.base}/predict", data=b"1 2", headers={"Content-Type": "text/plain"}
        ) as bad:
            assert bad.status == 400
            assert "measures are four numbers" in (await bad.json())["error"]
        assert np.array(server.engine.batches).tolist() == [[2, 4]]
