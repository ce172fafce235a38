"""Other servers around the same ONNX model, for serve_bench: each runs in an environment of its own.

SLIPWAY_PEERS names a folder with one virtual environment per peer, called like the package: litserve, fastapi, kserve,
mlserver, bentoml; each has the package and onnxruntime. A peer whose environment is not there is left out.
"""
