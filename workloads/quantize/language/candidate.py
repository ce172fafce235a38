"""A quantized candidate, made layer by layer from calibration documents and written as it will be published.

What a layer sees are the outputs of the quantized layers before it. Each layer is a shard of its own, written under
another name and renamed: an attempt that was killed goes on after the last one, and comes to the same bytes.
"""

import fnmatch
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slipway.api.common.language import CONFIG_FILE
from slipway.api.quantization.ladder import CALIBRATED, Rung
from workloads.errors import BadInput
from workloads.language import artifacts, float8, linear, packed
from workloads.language.config import json_of
from workloads.language.layerwise import Layerwise
from workloads.language.packed import Codes
from workloads.language.shards import INDEX_FILE
from workloads.quantize.language import awq, sensitivity
from workloads.quantize.language.inputs import Inputs
from workloads.quantize.language.rounding import Scheme, gptq, nearest

STAMP = "complete"


@dataclass(frozen=True)
class Wanted:
    """A candidate: its rung, how weights are kept, and layers by name, * for any characters, that stay float."""

    rung: Rung
    scheme: Scheme
    exclude: list[str] = field(default_factory=list)

    def keeps_float(self, name: str) -> bool:
        """Tell whether a layer stays float, by its whole name or its end."""
        return any(fnmatch.fnmatchcase(name, one) or fnmatch.fnmatchcase(name, f"*.{one}") for one in self.exclude)


def build(
    source: Layerwise,
    folder: Path,
    wanted: Wanted,
    calibration: Sequence[torch.Tensor],
    at: Path,
    between: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the candidate of the float model in `folder` at `at`. `between` is called before each layer.

    BadInput where a group does not divide a layer's inputs.
    """
    if (at / STAMP).is_file():
        return
    at.mkdir(parents=True, exist_ok=True)
    mixed = wanted.rung is Rung.MIXED_INT4
    widths = sensitivity.widths(source, calibration, wanted.scheme, wanted.keeps_float, at) if mixed else {}
    hidden = source.begin(calibration)
    files: dict[str, str] = {}
    for number in range(source.count):
        between(number)
        name, prefix = f"model-layer-{number:05d}.safetensors", source.prefix(number)
        layer = source.layer(number)
        if not (at / name).is_file():
            tensors = _quantized(source, layer, prefix, wanted, widths, hidden)
            save_file(tensors, at / f".{name}", metadata={"format": "pt"})
            (at / f".{name}").rename(at / name)
        written = load_file(at / name)
        files |= dict.fromkeys(written, name)
        _take(layer, prefix, written, wanted.scheme.bits, widths)
        hidden = source.through(layer, hidden) if calibration else hidden
    rest = {name: tensor.clone() for name, tensor in source.plain()}
    save_file(rest, at / "model-ends.safetensors", metadata={"format": "pt"})
    files |= dict.fromkeys(rest, "model-ends.safetensors")
    total = sum(path.stat().st_size for path in at.glob("*.safetensors"))
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(files.items()))}
    (at / INDEX_FILE).write_text(json.dumps(index, indent=1))
    _configure(source, folder, wanted, widths, at)
    (at / STAMP).touch()


def _configure(source: Layerwise, folder: Path, wanted: Wanted, widths: Mapping[str, int], at: Path) -> None:
    artifacts.copy_beside(folder, at)
    names, scheme = source.linear_names(), wanted.scheme
    ignored = ["lm_head", *(name for name in names if name != "lm_head" and wanted.keeps_float(name))]
    said = packed.configuration(
        scheme.bits,
        scheme.size,
        symmetric=scheme.symmetric,
        ignored=ignored,
        wider=[name for name, bits in widths.items() if bits > scheme.bits],
        kind=linear.SWAPPED if source.swapped else packed.LINEAR,
    )
    if wanted.rung is Rung.FP8_DYNAMIC:
        said = float8.configuration(ignored)
    (at / CONFIG_FILE).write_text(
        json.dumps({**json_of(folder / CONFIG_FILE), "quantization_config": said}, indent=2, sort_keys=True)
    )


def _quantized(
    source: Layerwise,
    layer: nn.Module,
    prefix: str,
    wanted: Wanted,
    widths: Mapping[str, int],
    hidden: list[torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Tensors of the layer's file."""
    seen = Inputs(layer)
    if wanted.rung in CALIBRATED:
        source.through(layer, hidden)
    seen.close()
    if wanted.rung is Rung.AWQ_INT4:
        awq.fold(layer, seen.rows, wanted.scheme)
    tensors: dict[str, torch.Tensor] = {}
    for name, part in linear.parts(layer):
        if wanted.keeps_float(prefix + name):
            continue
        weight = linear.matrix(part)
        if wanted.rung is Rung.FP8_DYNAMIC:
            tensors |= float8.tensors(weight, prefix + name, wanted.scheme.kept)
            continue
        scheme = replace(wanted.scheme, bits=widths.get(prefix + name, wanted.scheme.bits))
        if weight.shape[1] % scheme.size or weight.shape[1] * scheme.bits % 32:
            raise BadInput(
                f"weights.groupSize {scheme.size} does not divide the {weight.shape[1]} inputs of {prefix}{name}: "
                "choose another, or name the layer in exclude.nodes"
            )
        codes = (
            gptq(weight, seen.moments[name], scheme)
            if wanted.rung in {Rung.GPTQ_INT4, Rung.MIXED_INT4}
            else nearest(weight, scheme)
        )
        tensors |= Codes(codes.numbers, codes.scales.to(scheme.kept), codes.zeros, codes.bits).tensors(prefix + name)
    for name, parameter in layer.named_parameters():
        if not {f"{prefix}{name}_packed", prefix + name} & tensors.keys():
            tensors[source.name_in_file(prefix + name)] = parameter.detach().to(wanted.scheme.kept).contiguous()
    return tensors


def _take(
    layer: nn.Module, prefix: str, written: dict[str, torch.Tensor], bits: int, widths: Mapping[str, int]
) -> None:
    """Give the layer the weights that were written, as floats."""
    for name, part in linear.parts(layer):
        place = prefix + name
        words = written.get(f"{place}.weight_packed")
        if words is None:
            continue
        width = widths.get(place, bits)
        rows, columns = written[f"{place}.weight_shape"].tolist()
        zeros = written.get(f"{place}.weight_zero_point")
        if zeros is not None:
            zeros = packed.unpack(zeros.t().contiguous(), width, rows).t().contiguous()
        numbers = packed.unpack(words, width, columns)
        linear.matrix(part).copy_(Codes(numbers, written[f"{place}.weight_scale"], zeros, width).matrix())
    held = dict(layer.named_parameters())
    for place, tensor in written.items():
        # Files of bare GPT-2 leave out what stands before the layers.
        name = (
            place.removeprefix(prefix) if place.startswith(prefix) else place.partition(f".{prefix.split('.')[-2]}.")[2]
        )
        if name in held:
            scale = written.get(f"{place.removesuffix('.weight')}.weight_scale")
            held[name].data = tensor.float() if scale is None else tensor.float() * scale.float()


def bytes_of(folder: Path) -> int:
    """Bytes of a folder's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def copy(candidate: Path, target: Path) -> None:
    """Copy weights, configuration and tokenizer to where they are published."""
    artifacts.copy_beside(candidate, target)
    for path in (*candidate.glob("[!.]*.safetensors"), candidate / INDEX_FILE):
        if path.is_file():
            shutil.copyfile(path, target / path.name)
