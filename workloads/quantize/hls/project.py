"""Project of high-level synthesis: written by hls4ml for a plan, packed into one archive, the same bytes each time."""

import gzip
import io
import json
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from workloads import libraries
from workloads.onnx import hls
from workloads.quantize.hls.chain import Chain
from workloads.quantize.hls.network import module_of
from workloads.quantize.hls.plan import CircuitPlan, bytes_of

UNROLLED = 4096  # products that HLS unrolls at most; a larger layer is built by its resource strategy even for R = 1
BACKEND = "Vitis"
STAMP = "slipway"


def archive(chain: Chain, plan: CircuitPlan) -> bytes:
    """The project for Vitis HLS with weights, scripts and C++ model, as .tar.gz."""
    with tempfile.TemporaryDirectory(prefix="slipway-hls-") as name:
        folder = Path(name) / hls.PROJECT
        with libraries.quiet():
            _write(chain, plan, folder)
        about = {
            "shape": list(chain.shape),
            "outputs": list(chain.layers[-1].gives),
            "streams": chain.streams,
            "weightBytes": bytes_of(plan),
            "plan": plan.wire(),
        }
        _nameless(folder)
        (folder / hls.ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
        return _packed(folder)


def _write(chain: Chain, plan: CircuitPlan, folder: Path) -> None:
    import hls4ml

    conversion = "internal" if chain.streams else "full"
    module = module_of(chain)
    config = hls4ml.utils.config_from_pytorch_model(
        module,
        chain.shape,
        granularity="name",
        backend=BACKEND,
        default_precision=plan.input.rounded,
        default_reuse_factor=1,
        channels_last_conversion=conversion,
        transpose_outputs=False,
    )
    _configure(config, chain, plan)
    graph = hls4ml.converters.convert_from_pytorch_model(
        module,
        hls_config=config,
        output_dir=str(folder),
        project_name=hls.PROJECT,
        backend=BACKEND,
        part=plan.part.name,
        clock_period=plan.clock,
        io_type="io_stream" if chain.streams else "io_parallel",
        write_weights_txt=False,
    )
    graph.write()


def _configure(config: dict[str, Any], chain: Chain, plan: CircuitPlan) -> None:
    """Put the plan's formats, factors and strategies into hls4ml's configuration."""
    layers = {layer.name: layer for layer in plan.layers}
    for name, about in config["LayerName"].items():
        precision = about.setdefault("Precision", {})
        if name not in plan.results:
            precision["result"] = plan.input.rounded
            continue
        precision["result"] = plan.results[name].rounded
        if name in layers:
            own = layers[name]
            precision["weight"] = own.weights.rounded
            about["ReuseFactor"] = own.factor
            unrolled = own.factor == 1 and own.multipliers <= UNROLLED
            about["Strategy"] = "Latency" if unrolled else "Resource"
    # Left to hls4ml: biases and accumulators as wide as the products need.


def _nameless(folder: Path) -> None:
    """Take out what differs each time: the mark of a build, where it was made, and hls4ml's pickle of the module."""
    configuration = folder / "hls4ml_config.yml"
    text = configuration.read_text()
    mark = re.search(r"^Stamp: '?(\w+)'?$", text, re.MULTILINE)
    text = re.sub(r"^PytorchModel:.*?(?=^\S)", "", text, flags=re.MULTILINE | re.DOTALL)
    text = text.replace(" !!python/tuple", "")  # a list to every reader of YAML
    lines = [line for line in text.splitlines() if not line.startswith(("Stamp:", "OutputDir:"))]
    configuration.write_text("\n".join([*lines, f"Stamp: {STAMP}", "OutputDir: ."]) + "\n")
    script = folder / "build_lib.sh"
    if mark is not None:
        script.write_text(script.read_text().replace(mark[1], STAMP))


def _packed(folder: Path) -> bytes:
    """All files in order of their names, without times and owners."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            about = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            about.size = path.stat().st_size
            about.mode = 0o755 if path.suffix == ".sh" else 0o644
            with path.open("rb") as stream:
                tar.addfile(about, stream)
    return gzip.compress(made.getvalue(), mtime=0)
