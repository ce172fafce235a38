"""DeepSpeed's configuration from typed fields: rendered by the operator for a gang, by the trainer where nobody did.

Field names are those of DeepSpeed's configuration JSON (deepspeed.ai/docs/config-json).
"""

import json
from typing import Any

from slipway.api.training.launchers import DeepSpeed, Offload, OffloadDevice
from slipway.api.training.memory import STAGES, StrategyName
from slipway.api.training.recipe import Precision, Recipe


def stage(settings: DeepSpeed, strategy: StrategyName | None) -> int:
    """ZeRO stage, which says what is partitioned: the spec's, else the strategy's, else 0 for nothing."""
    if settings.zero_stage is not None:
        return settings.zero_stage
    return STAGES[strategy] if strategy is not None else 0


def render(settings: DeepSpeed, recipe: Recipe | None, strategy: StrategyName | None) -> dict[str, Any]:
    """All but the batch, which depends on how many processes there are. Without a recipe precision is bf16."""
    config: dict[str, Any] = {"zero_optimization": _zero(settings, strategy)}
    precision = settings.precision or (recipe.precision if recipe else Precision.BF16)
    clipping = settings.gradient_clipping or (recipe.gradient_clipping if recipe else None)
    if precision is not Precision.FP32:
        config[precision.value] = {"enabled": True}
    if clipping is not None:
        config["gradient_clipping"] = clipping
    for key, text in sorted(settings.config.items()):
        _put(config, key.split("."), _value(text))
    return config


def _put(config: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a value below the parts of its name. A part that is no nest by another key gives way to it."""
    for part in path[:-1]:
        inner = config.get(part)
        config[part] = inner if isinstance(inner, dict) else {}
        config = config[part]
    config[path[-1]] = value


def _value(text: str) -> Any:
    """JSON where it is JSON (true, 5e8, [1, 2]), else the words themselves."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _zero(settings: DeepSpeed, strategy: StrategyName | None) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": stage(settings, strategy)}
    offloads = strategy is StrategyName.ZERO3_OFFLOAD
    if settings.offload_optimizer is not None or offloads:
        zero["offload_optimizer"] = _offload(settings.offload_optimizer)
        if zero["offload_optimizer"]["device"] == OffloadDevice.NVME:
            # A group for each parameter: inside of a group DeepSpeed 0.19 reads gradients back at offsets that are no
            # multiple of a disk's 512 bytes, the read fails unheard, and the step is made with what the buffer held.
            zero["sub_group_size"] = 1
    if settings.offload_param is not None or offloads:
        zero["offload_param"] = _offload(settings.offload_param)
    if zero["stage"] == STAGES[StrategyName.ZERO3]:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return zero


def _offload(offload: Offload | None) -> dict[str, Any]:
    if offload is None:
        return {"device": "cpu", "pin_memory": False}
    path = {"nvme_path": offload.nvme_path} if offload.nvme_path is not None else {}
    return {"device": offload.device.value, "pin_memory": offload.pin_memory, **path}
