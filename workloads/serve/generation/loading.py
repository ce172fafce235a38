"""Loading of a language model: verified, its memory planned, its engine started and proved by the artifact's probes."""

import asyncio
import logging
import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.common.language import ArtifactKind, LanguageModel
from slipway.api.serving import generation_memory
from slipway.api.serving.engine import EngineName
from slipway.api.serving.generation import CachePrecision, Generation
from slipway.api.serving.generation_memory import BLOCK, DoesNotFit, MemoryPlan
from workloads.errors import BadInput
from workloads.language import artifacts
from workloads.language.artifacts import LanguageArtifact
from workloads.language.chat_template import ChatTemplate
from workloads.language.config import template_of
from workloads.language.text_tokenizer import TextTokenizer
from workloads.pod.cpus import cpu_limit
from workloads.pod.memory import memory_limit
from workloads.serve.generation.app import Generating
from workloads.serve.generation.engines.openvino import OpenVinoEngine
from workloads.serve.generation.generator import Generator
from workloads.serve.generation.limits import Defaults, Limits
from workloads.serve.generation.messages import Engine
from workloads.serve.generation.metrics import GenerationMetrics
from workloads.serve.generation.openai.texts import Texts
from workloads.serve.generation.probing import prove
from workloads.serve.settings import Settings

LOG = logging.getLogger("slipway.serve")

IR = "openvino_model.xml"
VLLM_PROGRAM = 2 << 30  # its own processes, beside ours
GATED = {"f32", "f16", "u8"}  # by QuantizationJobs
# Without these OpenVINO computes otherwise from machine to machine, up to 0.3 nats: bfloat16 where a processor is
# faster so, and inputs of quantized layers rounded to 8 bits.
EXACT: Mapping[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}


@dataclass(frozen=True)
class Found:
    """The model as it lies on the disk."""

    artifact: LanguageArtifact
    language: LanguageModel
    context: int
    plan: MemoryPlan
    precision: str  # of keys and values


def find(settings: Settings, limit: int | None) -> Found:
    """Read, verify and plan. BadInput: no language model, or DoesNotFit with the numbers. Corrupt: damaged."""
    asked = settings.generation or Generation()
    artifact = artifacts.read(settings.model, settings.digest)
    if artifact.kind is ArtifactKind.LORA_ADAPTER:
        raise BadInput(f"{settings.model}: an adapter alone; serve the merged model, or name it in predictor.adapters")
    if artifact.kind is ArtifactKind.OPENVINO_LM and settings.engine is EngineName.VLLM:
        raise BadInput(
            f"{settings.model}: OpenVINO's form of a model, which vLLM does not read: set engine.name to auto"
        )
    language = artifact.language
    if language is None:
        raise BadInput(f"{settings.model}: its artifact.json says nothing of a language model")
    context = asked.max_model_length or language.context_length
    if context > language.context_length:
        raise BadInput(
            f"generation.maxModelLength is {context}, the model was made for {language.context_length}: lower it"
        )
    cache, precision = asked.kv_cache, cache_precision(asked, artifact)
    weights = sum(path.stat().st_size for form in artifacts.WEIGHTS for path in artifact.folder.glob(form))
    try:
        plan = generation_memory.plan(
            language,
            weights,
            context=context,
            sequences=asked.max_sequences,
            batched_tokens=asked.max_batched_tokens,
            precision=precision,
            cache=cache.bytes,
            limit=limit,
        )
    except DoesNotFit as error:
        raise BadInput(str(error)) from None
    return Found(artifact, language, context, plan, precision)


def cache_precision(asked: Generation, artifact: LanguageArtifact) -> str:
    """Number format of keys and values: what is asked for, else what was gated with the weights, else f16."""
    if asked.kv_cache.precision is not CachePrecision.AUTO:
        return asked.kv_cache.precision.value
    measured = artifact.probes.measured if artifact.probes is not None else {}
    gated = measured.get("keyValueCache")
    return gated if gated in GATED else CachePrecision.F16.value


async def load(settings: Settings, metrics: GenerationMetrics) -> Generating:
    """A model that is loaded and proved. Raises BadInput, Corrupt or Unavailable in words."""
    asked = settings.generation or Generation()
    found = await asyncio.to_thread(find, settings, _limit(settings))
    tokenizer = await asyncio.to_thread(TextTokenizer, found.artifact.folder)
    engine = await _engine(settings, asked, found)
    try:
        facts = await engine.start()
        described = await _proved(engine, settings, found)
    except BaseException:
        await engine.close()
        raise
    LOG.info("%s %s serves; %s", facts.name, facts.version, found.plan.words())
    described |= {"engine": facts.name, "engine_version": facts.version, "digest": found.artifact.digest}
    described |= {
        "max_model_length": str(found.context),
        "kv_cache_tokens": str(facts.cache_tokens or found.plan.cache_tokens),
        "kv_cache_bytes": str(facts.cache_bytes or found.plan.cache),
    }
    limits = _limits(asked, found, facts.cache_tokens)
    texts = Texts(tokenizer, _template(found.artifact.folder, tokenizer), found.context)
    generator = Generator(engine, texts.decode, limits, metrics)
    names = [adapter.name for adapter in settings.adapters]
    return Generating(generator, texts, limits, found.language.end_tokens, described, names)


def _limit(settings: Settings) -> int | None:
    """Memory to plan for; None on accelerators, of whose memory vLLM takes a share by itself."""
    limit = memory_limit()
    if settings.engine is not EngineName.VLLM or limit is None:
        return limit
    return None if settings.accelerator else limit - VLLM_PROGRAM


async def _proved(engine: Engine, settings: Settings, found: Found) -> dict[str, str]:
    """Replay the probes of the model and of each adapter; what of it the model's description says."""
    said: dict[str, str] = {}
    probes = found.artifact.probes
    if probes is None:
        LOG.warning("a bare folder without probes: nobody can tell whether this engine answers as the model should")
        said["warning_1"] = "no probes: nothing proves that the engine answers as the model should"
    else:
        verdict = await prove(engine, probes.probes, found.context)
        LOG.info("proved: %s", verdict.words)
        said["proved"] = verdict.words
    for adapter in settings.adapters:
        read = await asyncio.to_thread(artifacts.read, str(adapter.uri), adapter.digest)
        _require_base(adapter.name, read, found.artifact)
        if read.probes is None:
            raise BadInput(f"adapters: {adapter.name} has no probes, so nobody can tell whether it is applied")
        verdict = await prove(engine, read.probes.probes, found.context, adapter.name)
        said[f"adapter_{adapter.name}"] = f"{read.digest} {verdict.words}"
    return said


def _require_base(name: str, adapter: LanguageArtifact, model: LanguageArtifact) -> None:
    """BadInput for an adapter of another base than this one, or than the one that this one was quantized from."""
    base = adapter.description.base if adapter.description is not None else None
    if adapter.kind is not ArtifactKind.LORA_ADAPTER or base is None:
        raise BadInput(f"adapters: {name} is no artifact of kind lora-adapter")
    known = {model.digest, artifacts.quantized_from(model.description) if model.description is not None else None}
    if base.digest not in known:
        raise BadInput(f"adapters: {name} was trained on {base.digest}, and this base is {model.digest}")


def _limits(asked: Generation, found: Found, cache_tokens: int) -> Limits:
    defaults = asked.defaults
    return Limits(
        found.context,
        found.language.vocabulary,
        asked.max_sequences,
        cache_tokens,
        asked.max_waiting_tokens,
        float(asked.timeout_seconds),
        Defaults(defaults.max_tokens, defaults.temperature, defaults.top_p),
    )


def _template(folder: Path, tokenizer: TextTokenizer) -> ChatTemplate | None:
    source = template_of(folder)
    return ChatTemplate(source, tokenizer.special) if source else None


async def _engine(settings: Settings, asked: Generation, found: Found) -> Engine:
    if settings.engine is EngineName.VLLM:
        from workloads.serve.generation.engines.vllm import VllmEngine

        cache = None if settings.accelerator else found.plan.cache
        return VllmEngine(
            str(found.artifact.folder), settings.name, asked, found.context, settings.adapters, cache=cache
        )
    folder = found.artifact.folder
    if not (folder / IR).is_file():
        folder = await _converted(folder)
    threads = settings.threads or max(1, math.ceil(cpu_limit()))
    properties = {**EXACT, "INFERENCE_NUM_THREADS": threads, "KV_CACHE_PRECISION": found.precision}
    return OpenVinoEngine(
        {
            "folder": str(folder),
            "blocks": found.plan.cache_tokens // BLOCK,
            "blockTokens": BLOCK,
            "batchedTokens": asked.max_batched_tokens,
            "sequences": asked.max_sequences,
            "prefixCaching": asked.prefix_caching,
            "properties": properties,
        }
    )


async def _converted(folder: Path, command: Sequence[str] = ()) -> Path:
    """OpenVINO's form of a Hugging Face folder, written by a process of its own: its libraries are not the server's."""
    out = Path(tempfile.mkdtemp(prefix="slipway-openvino-"))
    program = "import sys; from pathlib import Path; from workloads.language.openvino.writer import write_openvino; "
    program += "write_openvino(Path(sys.argv[1]), Path(sys.argv[2]))"
    LOG.info("writing OpenVINO's form of %s", folder)
    process = await asyncio.create_subprocess_exec(
        *(command or (sys.executable, "-c", program)), str(folder), str(out), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        shutil.rmtree(out, ignore_errors=True)
        words = (said.decode(errors="replace").strip().splitlines() or ["no words"])[-1]
        raise BadInput(f"{folder}: OpenVINO's form of it cannot be written: {words[-500:]}")
    return out
