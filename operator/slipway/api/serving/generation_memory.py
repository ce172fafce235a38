"""Memory of a language model's server, planned before it loads anything: weights, keys and values, workspace. Pure.

Asked by the server, which knows the files' sizes, and by whoever writes a manifest.
"""

from dataclasses import dataclass

from slipway.api.common.language import LanguageFacts, LanguageModel

MIB = 1 << 20
# The processes themselves, with their libraries.
PROGRAM = 512 * MIB
BLOCK = 32  # tokens of a block of the cache, in OpenVINO on CPUs; vLLM's have 16
# Bytes of a number of keys and values, and those beside each head's numbers (scale and zero point of one token).
FORMATS = {"f32": (4, 0), "f16": (2, 0), "bf16": (2, 0), "u8": (1, 8), "fp8": (1, 0)}


class DoesNotFit(ValueError):  # noqa: N818 (its name is the reason that people read)
    """A plan that the memory does not hold, with its numbers."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of a server; `cache_tokens` of all answers at once."""

    weights: int
    workspace: int
    cache: int
    cache_tokens: int

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.workspace + self.cache + PROGRAM

    def words(self) -> str:
        """The numbers for people."""
        return (
            f"weights {_mib(self.weights)}, workspace {_mib(self.workspace)}, keys and values {_mib(self.cache)} "
            f"({self.cache_tokens} tokens), programs {_mib(PROGRAM)}"
        )


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB" if size >= 10 * MIB else f"{size / MIB:.1f} MiB"


def cache_bytes_per_token(model: LanguageModel | LanguageFacts, precision: str) -> int:
    """Bytes of one token's keys and values in an engine's number format."""
    number, beside = FORMATS["f16" if precision == "auto" else precision]
    return 2 * model.layers * model.key_value_heads * (model.head_size * number + beside)


def plan(  # noqa: PLR0913 (the numbers of a plan)
    model: LanguageModel | LanguageFacts,
    weights: int,
    *,
    context: int,
    sequences: int,
    batched_tokens: int,
    precision: str,
    cache: int | None = None,
    limit: int | None = None,
) -> MemoryPlan:
    """Plan for `limit` bytes of memory. DoesNotFit where not even one answer of `context` tokens has room.

    `cache`: bytes that are asked for; else what all sequences can use, or what the limit leaves.
    """
    each = cache_bytes_per_token(model, precision) * BLOCK
    activations = batched_tokens * model.hidden_size * 4 * 16
    logits = (sequences + 1) * model.vocabulary * 4 * 2
    workspace = activations + logits
    one = -(-context // BLOCK) + 1
    wanted = one * sequences if cache is None else cache // each
    if cache is None and limit is not None:
        left = (limit - weights - workspace - PROGRAM) // each
        wanted = min(wanted, max(left, one))
    made = MemoryPlan(weights, workspace, wanted * each, wanted * BLOCK)
    if wanted < one:
        raise DoesNotFit(
            f"DoesNotFit: one answer of {context} tokens takes {_mib(one * each)} of keys and values, "
            f"kvCache.memory is {_mib(cache or 0)}: raise it, or lower maxModelLength"
        )
    if limit is not None and made.total > limit:
        raise DoesNotFit(
            f"DoesNotFit: {_mib(made.total)} are needed, the memory limit is {_mib(limit)}: {made.words()}; raise "
            "resources.limits.memory, lower maxModelLength, or serve fewer bits"
        )
    return made
