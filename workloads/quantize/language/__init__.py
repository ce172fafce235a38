"""Weight quantization of causal language models, layer by layer, and its proof on held-out documents."""

from slipway.api.common.language import CONFIG_FILE
from workloads import storage


def is_language_model(uri: str) -> bool:
    """Tell whether a source is the folder of a causal language model."""
    where = storage.local_path(uri)
    return (storage.fetch(uri) if where is None else where).joinpath(CONFIG_FILE).is_file()
