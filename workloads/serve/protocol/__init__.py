"""Open Inference Protocol v2: what a request says, checked against the model before it is queued, and the answer.

tensors.py            one tensor: JSON or binary to numpy and back
inference_request.py  a whole request in numpy, whichever way it came
../rest               REST with the binary tensor extension
../grpc               gRPC, from open_inference.proto
"""
