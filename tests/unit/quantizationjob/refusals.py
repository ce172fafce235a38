"""QuantizationJobs that are wrong, with the words that the user must be told. Read by the unit and the API tests."""

import copy
from typing import Any, NamedTuple

from tests.unit.api.manifests import merged

Object = dict[str, Any]

RIGHT: Object = {
    "model": {"from": {"trainingJob": "digits"}},
    "calibration": {"dataset": {"name": "digits"}},
    "evaluation": {"dataset": {"name": "digits"}},
    "output": {"uri": "pvc://models/digits-int8"},
}


class Wrong(NamedTuple):
    """A way to get a QuantizationJob wrong: a merge patch to RIGHT."""

    name: str
    patch: Object
    words: str
    """What the reconcile's message must hold."""
    by: str = "cel"
    """Place of the refusal: `schema` (every server), `cel` (1.25 and later), `operator` (only the reconcile)."""
    job_name: str = "q"

    @property
    def spec(self) -> Object:
        """The wrong spec."""
        return merged(RIGHT, self.patch)

    @property
    def manifest(self) -> Object:
        """The wrong object."""
        return {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "QuantizationJob",
            "metadata": {"name": self.job_name, "namespace": "default"},
            "spec": copy.deepcopy(self.spec),
        }


def _model(**fields: Any) -> Object:
    return {"model": {"from": None, **fields}}


def _target(**fields: Any) -> Object:
    return {"target": fields}


NVIDIA = {"runtime": "tensorrt", "hardware": "nvidia"}

WRONG = (
    # Devices.
    *(
        Wrong(
            f"a worker that asks for {device}",
            {"worker": {"resources": {"limits": {device: 1}}}},
            "the quantizer computes on CPUs, also for TensorRT, and would leave an accelerator idle",
            "operator",
        )
        for device in ("nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", "habana.ai/gaudi", "gpu.intel.com/xe")
    ),
    # Data.
    Wrong("static without calibration data", {"calibration": None}, "need samples to calibrate on"),
    Wrong(
        "one static rung without data", {"calibration": None, "ladder": ["dynamic", "static-per-channel"]},
        "set calibration, or another ladder",
    ),
    Wrong("no evaluation data", {"evaluation": None}, "evaluation", "schema"),
    Wrong("evaluation of nothing", {"evaluation": {"dataset": None}}, "set exactly one of dataset"),
    Wrong("calibration of two", {"calibration": {"uri": "pvc://data/c"}}, "set exactly one of dataset"),
    Wrong("a metric nobody has", {"evaluation": {"metric": "bleu"}}, "top-1", "schema"),
    Wrong(
        "training without a data set", {"calibration": {"dataset": None, "uri": "pvc://data/c"}, "ladder": ["qat"]},
        "the rung qat trains on calibration.dataset",
    ),
    Wrong("a percentile below half", {"calibration": {"percentile": 10}}, "50", "schema"),
    # The model.
    Wrong("no source", _model(), "set exactly one of from"),
    Wrong("two sources", {"model": {"uri": "pvc://models/x"}}, "set exactly one of from"),
    Wrong("a digest for a job's artifact", {"model": {"digest": f"sha256:{'0' * 64}"}}, "digest pins a uri"),
    Wrong("half a digest", _model(uri="pvc://models/x", digest="sha256:00"), "digest", "schema"),
    Wrong("a pickle as model", _model(uri="pvc://models/net.pt"), "a pickle, which can run code"),
    Wrong("a checkpoint as model", _model(uri="file:///models/last.ckpt"), "a pickle, which can run code"),
    Wrong("a path that climbs", _model(uri="pvc://models/../x"), "write the path out"),
    # Where it goes.
    Wrong("no output", {"output": None}, "output", "schema"),
    Wrong(
        "over the model", {**_model(uri="pvc://models/digits"), "output": {"uri": "pvc://models/digits"}},
        "output.uri is where the float model lies",
    ),
    Wrong("a bucket and nowhere to work", {"output": {"uri": "s3://models/x"}}, "cannot hold unfinished work"),
    Wrong("work in a bucket", {"work": {"uri": "s3://models/w"}}, "object stores cannot rename"),
    Wrong("work in the output", {"work": {"uri": "pvc://models/digits-int8/w"}}, "work.uri lies in output.uri"),
    # The target and its ladder.
    Wrong("FP8 on a CPU runtime", {"ladder": ["static-per-channel", "fp8"]}, "fp8 needs target.runtime tensorrt"),
    Wrong(
        "nothing that TensorRT runs", {**_target(**NVIDIA), "ladder": ["dynamic", "weight-only-int4"]},
        "can execute no rung of the ladder",
    ),
    Wrong(
        "nothing that OpenVINO runs", {**_target(runtime="openvino"), "ladder": ["weight-only-int4"]},
        "can execute no rung of the ladder",
    ),
    Wrong(
        "3 bits of nothing", {"weights": {"bits": 3}, "ladder": ["dynamic", "weight-only-int8"]},
        "weights.bits narrows static rungs and qat",
    ),
    Wrong("TensorRT on a CPU", _target(runtime="tensorrt"), "belong together"),
    Wrong("another runtime on a GPU", _target(hardware="nvidia"), "belong together"),
    Wrong("a runtime nobody has", _target(runtime="tvm"), "onnxruntime", "schema"),
    Wrong("an empty ladder", {"ladder": []}, "ladder", "schema"),
    Wrong("a rung nobody has", {"ladder": ["fp4"]}, "ladder", "schema"),
    Wrong("mixed precision of nothing", {"ladder": ["mixed-precision"]}, "put a static rung before it"),
    Wrong("one bit", {"weights": {"bits": 1}}, "bits", "schema"),
    # An FPGA.
    Wrong("a circuit on no part", _target(runtime="hls"), "runtime hls and fpga belong together"),
    Wrong("a part for another runtime", _target(fpga={"part": "xc7z020clg400-1"}), "runtime hls and fpga belong"),
    Wrong(
        "floats in a circuit", _target(runtime="hls", fpga={"part": "xc7z020clg400-1", "precision": "float16"}),
        "precision", "schema",
    ),
    Wrong("a part of another maker", _target(runtime="hls", fpga={"part": "10AX115"}), "part", "schema"),
    Wrong(
        "a clock for what has none",
        {**_target(runtime="hls", fpga={"part": "xc7z020clg400-1"}), "gates": {"latency": {}}},
        "leave gates.latency out with target.runtime hls",
    ),
    # Detectors.
    Wrong(
        "boxes and no metric for them", {"evaluation": {"dataset": {"name": "shapes"}}},
        "metric average-precision-50 is for data sets with boxes",
    ),
    Wrong(
        "a metric of boxes and none", {"evaluation": {"metric": "average-precision-50"}},
        "metric average-precision-50 is for data sets with boxes",
    ),
    # A measure of one's own.
    Wrong(
        "a task of one's own without its function", {"evaluation": {"metric": "agreement", "task": "custom"}},
        "task custom needs function",
    ),
    Wrong(
        "a function that nobody calls", {"evaluation": {"metric": "agreement", "function": "mine:score"}},
        "function is for task custom",
    ),
    Wrong(
        "a path for a function",
        {"evaluation": {"metric": "agreement", "task": "custom", "function": "../mine.py"}}, "function", "schema",
    ),
    Wrong(
        "a detector made smaller",
        {
            "evaluation": {"dataset": {"name": "shapes"}, "metric": "average-precision-50"},
            "compression": [{"method": "two-four"}],
        },
        "let a TrainingJob compress the detector",
    ),
    # Compression.
    Wrong(
        "channels of what was zeroed",
        {"compression": [{"method": "two-four"}, {"method": "distillation"}, {"method": "channels", "ratio": 0.5}]},
        "so channels and low-rank go first",
    ),
    Wrong(
        "an answer's share of nothing", {"compression": [{"method": "two-four", "alpha": 0.5}]},
        "alpha says how much of the loss is distillation's",
    ),
    Wrong("low rank of everything", {"compression": [{"method": "low-rank"}]}, "set it for low-rank"),
    # The gates.
    Wrong(
        "two limits", {"gates": {"accuracy": {"profile": "mlperf-99", "maxDrop": 0.1}}}, "set profile or maxDrop"
    ),
    Wrong("a drop in percent", {"gates": {"accuracy": {"maxDrop": 2}}}, "maxDrop", "schema"),
    Wrong("certainty", {"gates": {"accuracy": {"confidence": 1.0}}}, "confidence", "schema"),
    Wrong("larger than the float model", {"gates": {"size": {"maxRatio": 1.5}}}, "maxRatio", "schema"),
    # The pods.
    Wrong("no pods", {"parallelism": 0}, "parallelism", "schema"),
    Wrong("an empty failure rule", {"failurePolicy": {"rules": [{"action": "FailJob"}]}}, "needs at least one of"),
    Wrong("a name too long for its pods", {}, "shorten it", "schema", "q" * 60),
)  # fmt: skip
