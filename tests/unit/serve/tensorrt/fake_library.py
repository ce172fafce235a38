"""Stand-in for TensorRT's Python library, by what its versions have: 10, 11 and RTX.

It parses ONNX, holds callers to the order of calls and to profiles as TensorRT does, and computes with ONNX Runtime,
from device memory to device memory, when the stream comes to it. That each call exists with these arguments in a real
library is held by test_fakes.
"""

from __future__ import annotations

import enum
import pickle
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.unit.serve.tensorrt.fake_cuda import Device

T = onnx.TensorProto
DataType = enum.Enum("DataType", ["FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "BF16", "INT64"])
TensorLocation = enum.Enum("TensorLocation", ["DEVICE", "HOST"])
MemoryPoolType = enum.Enum("MemoryPoolType", ["WORKSPACE"])
BuilderFlag = enum.Enum("BuilderFlag", ["TF32", "SPARSE_WEIGHTS"])
Capability = enum.Enum("Capability", ["SM75", "SM80", "SM86", "SM89", "SM120"])
# As TensorRT's parser does it: float64 becomes float32 without a word.
TYPES = {T.FLOAT: "FLOAT", T.FLOAT16: "HALF", T.BFLOAT16: "BF16", T.INT8: "INT8", T.UINT8: "UINT8"} | {
    T.INT32: "INT32",
    T.INT64: "INT64",
    T.BOOL: "BOOL",
    T.DOUBLE: "FLOAT",
}


@dataclass
class Plan:
    """An engine: `made_by` is name and version of the library; `network` its creation flags; `host`: shape inputs."""

    made_by: str
    model: bytes
    ranges: dict[str, tuple[tuple[int, ...], ...]]
    flags: list[str]
    network: int
    workspace: int
    capability: str | None
    host: list[str] = field(default_factory=list)


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    Severity = Severity

    def log(self, severity: Severity, message: str) -> None:
        raise NotImplementedError


@dataclass
class Fake:
    """Settings of the stand-in. `refuses`: names of calls that fail as TensorRT's do, by None or False."""

    device: Device
    version: str = "10.9.0"
    name: str = "tensorrt"
    refuses: set[str] = field(default_factory=set)
    host: list[str] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)

    @cached_property
    def module(self) -> ModuleType:
        module = ModuleType(self.name)
        vars(module).update(
            __version__=self.version,
            ILogger=ILogger,
            Builder=lambda log: None if "Builder" in self.refuses else Builder(self, log),
            OnnxParser=Parser,
            Runtime=lambda log: Runtime(self, log),
            MemoryPoolType=MemoryPoolType,
            BuilderFlag=BuilderFlag,
            DataType=DataType,
            TensorLocation=TensorLocation,
            NetworkDefinitionCreationFlag=SimpleNamespace(),
        )
        # Bit 1 in 10, whose bit 0 was the explicit batch; bit 0 in RTX; a release without other networks may drop it.
        major = int(self.version.split(".")[0])
        if major < 12:
            module.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1 if major == 10 else 0)
        if self.name == "tensorrt_rtx":
            vars(module).update(ComputeCapability=Capability)
        return module

    def refuse(self, name: str, log: Any) -> bool:
        """Tell whether this call fails; TensorRT then says why in its log."""
        if name in self.refuses:
            log.log(Severity.ERROR, f"{name}: out of luck")
        return name in self.refuses


class Parser:
    def __init__(self, network: Any, log: Any) -> None:
        assert isinstance(log, ILogger)
        self.network, self.errors = network, []

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def parse_from_file(self, model: str) -> bool:
        assert isinstance(model, str)
        try:
            self.network.model = onnx.load(model)
        except Exception as error:
            self.errors = [f"{place}: {type(error).__name__}" for place in range(5)]
        return not self.errors

    def get_error(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(desc=lambda: self.errors[index])


class Profile:
    def __init__(self) -> None:
        self.ranges: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, least: tuple[int, ...], best: tuple[int, ...], most: tuple[int, ...]) -> None:
        if not all(a <= b <= c for a, b, c in zip(least, best, most, strict=True)):
            raise ValueError("min, opt and max are inconsistent")
        self.ranges[name] = (least, best, most)


class Config:
    def __init__(self, fake: Fake) -> None:
        self._fake, self.flags, self.profiles, self.workspace = fake, [], [], 0
        self.num_compute_capabilities, self.capability = 0, None

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE
        self.workspace = size

    def set_flag(self, flag: BuilderFlag) -> None:
        assert isinstance(flag, BuilderFlag)
        self.flags.append(flag.name)

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return -1 if "add_optimization_profile" in self._fake.refuses else len(self.profiles) - 1

    def set_compute_capability(self, capability: Any, index: int) -> bool:
        assert self._fake.name == "tensorrt_rtx", "TensorRT itself has no such call"
        self.capability = capability.name
        return index < self.num_compute_capabilities and "set_compute_capability" not in self._fake.refuses


class Builder:
    def __init__(self, fake: Fake, log: Any) -> None:
        self._fake, self._log = fake, log

    def create_network(self, flags: int = 0) -> SimpleNamespace:
        return SimpleNamespace(flags=flags, model=None)

    def create_builder_config(self) -> Config:
        return Config(self._fake)

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Any, config: Config) -> memoryview | None:
        assert network.model is not None, "nothing was parsed"
        if self._fake.refuse("build_serialized_network", self._log):
            return None
        (profile,) = config.profiles
        names = [one.name for one in network.model.graph.input]
        if sorted(profile.ranges) != sorted(names):
            self._log.log(Severity.INTERNAL_ERROR, "the profile is missing an input")
            return None
        model = network.model.SerializeToString()
        made_by = f"{self._fake.name}-{self._fake.version}"
        plan = Plan(made_by, model, profile.ranges, config.flags, network.flags, config.workspace, config.capability)
        plan.host = self._fake.host
        self._fake.plans.append(plan)
        return memoryview(pickle.dumps(plan))


class Runtime:
    def __init__(self, fake: Fake, log: Any) -> None:
        assert isinstance(log, ILogger)
        self._fake, self._log = fake, log

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        read = pickle.loads(plan)
        if read.made_by != f"{self._fake.name}-{self._fake.version}" or self._fake.refuse("deserialize", self._log):
            return None
        return Engine(self._fake, read)

    def __del__(self) -> None:
        self._fake.device.call("end", "runtime")


class Engine:
    def __init__(self, fake: Fake, plan: Plan) -> None:
        self.fake, self.plan = fake, plan
        self.model = onnx.load_from_string(plan.model)
        self.session = onnxruntime.InferenceSession(plan.model, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]

    def __del__(self) -> None:
        self.fake.device.call("end", "engine")

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_dtype(self, name: str) -> DataType:
        ports = {
            one.name: one.type.tensor_type.elem_type for one in (*self.model.graph.input, *self.model.graph.output)
        }
        return DataType[TYPES[ports[name]]]

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.HOST if name in self.plan.host else TensorLocation.DEVICE

    def create_execution_context(self) -> Context | None:
        return None if "create_execution_context" in self.fake.refuses else Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        # Not the engine itself: who lets go of it first is the caller's to get right.
        self._fake, self._engine = engine.fake, SimpleNamespace(**vars(engine))
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self._fake.contexts.append(self.addresses)

    def __del__(self) -> None:
        self._fake.device.call("end", "context")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._fake.device.call("set_input_shape", name, tuple(shape))
        least, _, most = self._engine.plan.ranges[name]
        inside = len(shape) == len(least) and all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True))
        if inside and "set_input_shape" not in self._fake.refuses:
            self.shapes[name] = tuple(shape)
            return True
        return False

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._engine.inputs:
            return self.shapes[name]
        assert set(self.shapes) == set(self._engine.inputs), "shapes of outputs are known once those of inputs are"
        if "get_tensor_shape" in self._fake.refuses:
            return (-1, 4)
        ports = {one.name: one.type.tensor_type.elem_type for one in self._engine.model.graph.input}
        types = {one: onnx.helper.tensor_dtype_to_np_dtype(kind) for one, kind in ports.items()}
        nothing = {one: np.zeros(shape, types[one]) for one, shape in self.shapes.items()}
        return tuple(self._engine.session.run([name], nothing)[0].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int)
        self._fake.device.call("set_tensor_address", name, memory)
        self.addresses[name] = memory
        return "set_tensor_address" not in self._fake.refuses

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._fake.device.call("execute_async_v3", stream_handle)
        if "execute_async_v3" in self._fake.refuses:
            return False
        assert sorted(self.addresses) == sorted([*self._engine.inputs, *self._engine.outputs])
        shapes, addresses = dict(self.shapes), dict(self.addresses)
        self._fake.device.put(stream_handle, lambda: self._compute(shapes, addresses))
        return True

    def _compute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        kinds = {one.name: one.type.tensor_type.elem_type for one in self._engine.model.graph.input}
        feeds = {}
        for name, shape in shapes.items():
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kinds[name]))
            raw = self._fake.device.read(addresses[name], int(np.prod(shape)) * dtype.itemsize)
            feeds[name] = np.frombuffer(raw, dtype).reshape(shape)
        for name, result in zip(self._engine.outputs, self._engine.session.run(None, feeds), strict=True):
            self._fake.device.write(addresses[name], np.ascontiguousarray(result).tobytes())
