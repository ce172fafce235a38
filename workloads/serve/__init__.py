"""Serve an artifact over the Open Inference Protocol, on a laptop or in a pod: `python -m workloads serve --model DIR`.

batcher/   which requests run together (pure asyncio, knows no engine)
engines/   what runs them: onnxruntime, torch, openvino, tensorrt, litert behind one Protocol
protocol/  Open Inference Protocol v2: REST with the binary extension, and gRPC
http/      bytes to requests and back, time limits, draining
people/    POST /predict and the page at /
"""
