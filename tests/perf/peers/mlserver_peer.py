"""MLServer with its adaptive batching: `mlserver_peer.py ONNX PORT`, the V2 protocol."""

import asyncio
import sys

import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse


class Mlp(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        y = self.session.run(None, {"x": NumpyCodec.decode_input(payload.inputs[0])})[0]
        return InferenceResponse(model_name="mlp", outputs=[NumpyCodec.encode_output("y", y)])


async def main() -> None:
    port = int(sys.argv[2])
    settings = Settings(host="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_port=port + 2, parallel_workers=0)
    server = MLServer(settings)
    model = ModelSettings(
        name="mlp", implementation=Mlp, max_batch_size=32, max_batch_time=0.001, parameters=ModelParameters(version="1")
    )
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(main())
