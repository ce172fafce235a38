"""Kind of a model: language models are served over OpenAI's API. Asked before anything of it is loaded."""

import json
from pathlib import Path

from slipway.api.common.artifact import DESCRIPTION_FILE
from slipway.api.common.language import CONFIG_FILE, ArtifactKind
from slipway.api.serving.engine import EngineName
from workloads import storage
from workloads.language.config import FAMILIES
from workloads.serve.settings import Settings

LANGUAGE = {ArtifactKind.CAUSAL_LM.value, ArtifactKind.OPENVINO_LM.value, ArtifactKind.LORA_ADAPTER.value}


def generates(settings: Settings) -> bool:
    """True where the service says so, or the artifact on this machine's disk does.

    One that lies elsewhere is not fetched to be asked: its service names `generation`.
    """
    if settings.generation is not None or settings.engine is EngineName.VLLM:
        return True
    folder = storage.local_path(settings.model)
    if folder is None or not folder.is_dir():
        return False
    described = _document(folder / DESCRIPTION_FILE)
    if described:
        return described.get("kind") in LANGUAGE
    return _document(folder / CONFIG_FILE).get("model_type") in FAMILIES and not any(folder.glob("*.onnx"))


def _document(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
