"""Programs that travel to the pods in the job's ConfigMap, the image being the user's. Read as text, never run here."""

from importlib.resources import files

STORE = "rendezvous_store.py"
GANG = "gang.py"
HOROVOD = "horovod_launch.py"
INTERFACE = "network_interface.py"
PUBLISH = "publish.py"
ONNX_SIGNATURE = "onnx_signature.py"
JOB = "job.json"  # which PUBLISH reads beside itself
RAY = "ray_node.py"
TORCH_AGENT = "torch_agent.py"
SSH = "ssh"


def read(name: str) -> str:
    """Text of one of these programs."""
    return (files(__package__ or "") / name).read_text(encoding="utf-8")
