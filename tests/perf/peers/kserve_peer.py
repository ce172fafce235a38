"""KServe's Python server, which has no batching of its own: `kserve_peer.py ONNX PORT`, the V2 protocol."""

import sys

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

ONNX, PORT = sys.argv[1], int(sys.argv[2])
del sys.argv[1:]  # KServe reads the command line when it is imported


class Mlp(Model):
    def __init__(self):
        super().__init__("mlp")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(ONNX, options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        y = self.session.run(None, {"x": payload.inputs[0].as_numpy()})[0]
        output = InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=False)
        return InferResponse(payload.id or "none", "mlp", [output])


if __name__ == "__main__":
    ModelServer(http_port=PORT, enable_grpc=False, workers=1, access_log_format=None).start([Mlp()])
