"""A quantized candidate, made layer by layer from calibration documents and written as it will be published.

What a layer sees are the outputs of the quantized layers before it. Each layer is a shard of its own, written under
another name and renamed: an attempt that was killed goes on after the last one, and comes to the same bytes.
"""

import fnmatch
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slipway.api.common.language import CONFIG_FILE
from slipway.api.quantization.ladder import Rung
from workloads.errors import BadInput
from workloads.language import artifacts, packed
from workloads.language.config import json_of
from workloads.language.layerwise import Layerwise
from workloads.language.packed import Codes
from workloads.language.shards import INDEX_FILE
from workloads.quantize.language import awq
from workloads.quantize.language.rounding import Scheme, gptq, nearest

ROWS = 512  # of a layer's inputs that AWQ looks at
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


class _Inputs:
    """Statistics of the inputs of a layer's linear parts: second moments for GPTQ, some rows for AWQ."""

    def __init__(self, layer: nn.Module) -> None:
        self.moments: dict[str, torch.Tensor] = {}
        self.rows: dict[str, torch.Tensor] = {}
        parts = [(name, part) for name, part in layer.named_modules() if isinstance(part, nn.Linear)]
        self._hooks = [part.register_forward_pre_hook(self._noting(name)) for name, part in parts]

    def _noting(self, name: str) -> Callable[..., None]:
        def note(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            found = given[0].reshape(-1, given[0].shape[-1])
            self.moments[name] = self.moments.get(name, 0) + (found.double().t() @ found.double())
            held = self.rows.get(name)
            if held is None or len(held) < ROWS:
                some = found[:: max(1, len(found) // 32)]
                self.rows[name] = some.clone() if held is None else torch.cat([held, some])[:ROWS]

        return note

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


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
    hidden = source.begin(calibration)
    files: dict[str, str] = {}
    for number in range(source.count):
        between(number)
        name, prefix = f"model-layer-{number:05d}.safetensors", f"model.layers.{number}."
        layer = source.layer(number)
        if not (at / name).is_file():
            tensors = _quantized(source, layer, prefix, wanted, hidden)
            save_file(tensors, at / f".{name}", metadata={"format": "pt"})
            (at / f".{name}").rename(at / name)
        written = load_file(at / name)
        files |= dict.fromkeys(written, name)
        _take(layer, prefix, written, wanted.scheme)
        hidden = source.through(layer, hidden) if calibration else hidden
    rest = {name: tensor.clone() for name, tensor in source.plain()}
    save_file(rest, at / "model-ends.safetensors", metadata={"format": "pt"})
    files |= dict.fromkeys(rest, "model-ends.safetensors")
    total = sum(path.stat().st_size for path in at.glob("*.safetensors"))
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(files.items()))}
    (at / INDEX_FILE).write_text(json.dumps(index, indent=1))
    _configure(source, folder, wanted, at)
    (at / STAMP).touch()


def _configure(source: Layerwise, folder: Path, wanted: Wanted, at: Path) -> None:
    artifacts.copy_beside(folder, at)
    names = [name for name, part in source._frame[0].named_modules() if isinstance(part, nn.Linear)]
    ignored = ["lm_head", *(name for name in names if name != "lm_head" and wanted.keeps_float(name))]
    scheme = wanted.scheme
    said = packed.configuration(scheme.bits, scheme.size, symmetric=scheme.symmetric, ignored=ignored)
    (at / CONFIG_FILE).write_text(
        json.dumps({**json_of(folder / CONFIG_FILE), "quantization_config": said}, indent=2, sort_keys=True)
    )


def _quantized(
    source: Layerwise, layer: nn.Module, prefix: str, wanted: Wanted, hidden: list[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Tensors of the layer's file."""
    scheme = wanted.scheme
    seen = _Inputs(layer)
    if wanted.rung in {Rung.AWQ_INT4, Rung.GPTQ_INT4}:
        source.through(layer, hidden)
    seen.close()
    if wanted.rung is Rung.AWQ_INT4:
        awq.fold(layer, seen.rows, scheme)
    tensors: dict[str, torch.Tensor] = {}
    for name, part in layer.named_modules():
        if not isinstance(part, nn.Linear) or wanted.keeps_float(prefix + name):
            continue
        if part.in_features % scheme.size or part.in_features * scheme.bits % 32:
            raise BadInput(
                f"weights.groupSize {scheme.size} does not divide the {part.in_features} inputs of {prefix}{name}: "
                "choose another, or name the layer in exclude.nodes"
            )
        codes = (
            gptq(part.weight.detach(), seen.moments[name], scheme)
            if wanted.rung is Rung.GPTQ_INT4
            else nearest(part.weight.detach(), scheme)
        )
        tensors |= Codes(codes.numbers, codes.scales.to(scheme.kept), codes.zeros, codes.bits).tensors(prefix + name)
    for name, parameter in layer.named_parameters():
        if f"{prefix}{name}_packed" not in tensors:
            tensors[source.name_in_file(prefix + name)] = parameter.detach().to(scheme.kept).contiguous()
    return tensors


def _take(layer: nn.Module, prefix: str, written: dict[str, torch.Tensor], scheme: Scheme) -> None:
    """Give the layer the weights that were written, as floats."""
    for name, parameter in layer.named_parameters():
        words = written.get(f"{prefix}{name}_packed")
        if words is None:
            parameter.data = written[prefix + name].float()
            continue
        place = prefix + name.removesuffix(".weight")
        rows, columns = written[f"{place}.weight_shape"].tolist()
        zeros = written.get(f"{place}.weight_zero_point")
        if zeros is not None:
            zeros = packed.unpack(zeros.t().contiguous(), scheme.bits, rows).t().contiguous()
        numbers = packed.unpack(words, scheme.bits, columns)
        parameter.data = Codes(numbers, written[f"{place}.weight_scale"], zeros, scheme.bits).matrix()


def bytes_of(folder: Path) -> int:
    """Bytes of a folder's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def copy(candidate: Path, target: Path) -> None:
    """Copy weights, configuration and tokenizer to where they are published."""
    artifacts.copy_beside(candidate, target)
    for path in (*candidate.glob("[!.]*.safetensors"), candidate / INDEX_FILE):
        if path.is_file():
            shutil.copyfile(path, target / path.name)
