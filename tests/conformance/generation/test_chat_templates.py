"""Chat templates of strangers: what they try is refused in words, for that chat alone, and the server goes on."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.conformance.generation.conftest import Start
from tests.conformance.generation.server import PROMPT, GenerationServer
from tests.models.language import openvino, vllm
from workloads import storage

# What the template does, by what the user says.
TRIES = {
    "attribute": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('touch /tmp/owned').read() }}",
    "loop": "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}",
    "silent loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "memory": "{{ 'x' * 10000000000 }}",
    "file": "{% include '/etc/passwd' %}",
    "undefined": "{{ nothing.at.all }}",
    "refusal": "{{ raise_exception('only once') }}",
}


@pytest.fixture(scope="module")
def hostile(start: Start, engine: str, tmp_path_factory: pytest.TempPathFactory) -> GenerationServer:
    target = tmp_path_factory.mktemp("hostile") / "model"
    shutil.copytree(vllm.folder() if engine == "vllm" else openvino.folder(), target)
    cases = "".join(f"{{% if messages[0].content == '{name}' %}}{body}{{% endif %}}" for name, body in TRIES.items())
    path = target / "chat_template.jinja"
    path.write_text(cases + "{{ messages[0].content }}")
    said = json.loads((target / "artifact.json").read_text())
    for file in said["files"]:
        if file["path"] == path.name:
            file["digest"], file["size"] = storage.sha256_of(path), path.stat().st_size
    (target / "artifact.json").write_text(json.dumps(said))
    return start(target).wait()


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] * (one == "silent loop")) for one in TRIES]
)
def test_a_template_that_breaks_out_is_refused_and_others_are_answered(hostile: GenerationServer, name: str) -> None:
    began = time.monotonic()
    answer = hostile.chat(name)
    assert 400 <= answer.status < 500, answer.body
    assert "template" in answer.json["error"]["message"]
    assert "root:" not in answer.body.decode()
    assert time.monotonic() - began < 60
    assert not Path("/tmp/owned").exists()
    assert hostile.chat("hello").status == 200
    assert hostile.complete(PROMPT).status == 200
