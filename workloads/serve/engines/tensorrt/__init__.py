"""TensorRT as it is today: explicit batch, strongly typed, `execute_async_v3`; engines cached by their key.

`tensorrt` where it is installed, else `tensorrt_rtx`, which has the same API and builds engines without a GPU.
"""
