"""A checked request of either kind -> the prompts and the sampling that an engine gets. Raises Invalid in words.

Everything that would be refused later, or kill an engine, is refused here: lengths, token numbers, grammars.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workloads.serve.errors import Invalid
from workloads.serve.generation.limits import Defaults, Limits
from workloads.serve.generation.messages import Sampling
from workloads.serve.generation.openai.schema import (
    MOST_PROMPTS,
    ChatRequest,
    Common,
    CompletionRequest,
    JsonSchema,
    ToolChoice,
)
from workloads.serve.generation.text import json_grammar
from workloads.serve.generation.text.tool_calls import grammar_of_tools

COMPLETION_TOKENS = 16  # OpenAI's default of /v1/completions
GREEDY = 1e-5  # temperatures below it


@dataclass(frozen=True)
class Intake:
    """Fields that all prompts of a request share. `max_tokens` None: as many as fit."""

    sampling: Sampling
    max_tokens: int | None
    n: int
    stops: Sequence[str]
    stream: bool
    usage: bool
    logprobs: bool


def intake(request: Common, defaults: Defaults, ends: Sequence[int]) -> Intake:
    """Sampling of a request; `ends` are the model's own end tokens."""
    if request.logit_bias:
        raise Invalid("logit_bias: no engine here takes it")
    if request.stream_options is not None and not request.stream:
        raise Invalid("stream_options are of a stream: set stream")
    top_k = request.top_k if request.top_k not in (None, -1) else 0
    sampling = Sampling(
        max_tokens=1,
        temperature=_warm(_first(request.temperature, defaults.temperature, 1.0)),
        top_p=_first(request.top_p, defaults.top_p, 1.0),
        top_k=top_k or 0,
        min_p=request.min_p or 0.0,
        seed=None if request.seed is None else request.seed % 2**32,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        repetition_penalty=_first(request.repetition_penalty, 1.0),
        min_tokens=request.min_tokens or 0,
        stop_tokens=sorted({*ends, *(request.stop_token_ids or ())}),
        ignore_end=bool(request.ignore_eos),
        grammar=_grammar(request),
    )
    if sampling.grammar is not None and sampling.ignore_end:
        raise Invalid("ignore_eos: an answer in a form ends when it is whole")
    options = request.stream_options
    return Intake(
        sampling,
        _max_tokens(request, defaults),
        request.n or 1,
        request.stop,
        bool(request.stream),
        options is not None and options.include_usage,
        _logprobs(request),
    )


def _warm(temperature: float) -> float:
    """Temperature; greedy below what engines can divide by in 32 bits, as with vLLM."""
    return temperature if temperature >= GREEDY else 0.0


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _max_tokens(request: Common, defaults: Defaults) -> int | None:
    if isinstance(request, ChatRequest):
        if request.max_tokens is not None and request.max_completion_tokens is not None:
            raise Invalid("max_tokens and max_completion_tokens are one field's two names: set one of them")
        asked = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
        return asked if asked is not None else defaults.max_tokens
    asked = request.max_tokens if isinstance(request, CompletionRequest) else None
    return asked if asked is not None else defaults.max_tokens or COMPLETION_TOKENS


def _logprobs(request: Common) -> bool:
    """Tell whether log-probabilities are asked for: of the tokens that were chosen, engines here tell no others."""
    if isinstance(request, ChatRequest):
        if request.top_logprobs and not request.logprobs:
            raise Invalid("top_logprobs is of logprobs: set it to true")
        if (request.top_logprobs or 0) > 1:
            raise Invalid("top_logprobs: the engine tells the log-probability of the chosen token alone, 1 at most")
        return bool(request.logprobs)
    if not isinstance(request, CompletionRequest) or request.logprobs is None:
        return False
    if request.logprobs > 1:
        raise Invalid("logprobs: the engine tells the log-probability of the chosen token alone, 1 at most")
    return True


def _grammar(request: Common) -> str | None:
    try:
        tools = _forced_tools(request)
        if tools is not None:
            return tools
        form = request.response_format
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return json_grammar.any_json()
        schema: JsonSchema | None = form.json_schema
        if schema is None or schema.schema_ is None:
            raise Invalid("response_format: json_schema needs json_schema.schema")
        return json_grammar.grammar_of(schema.schema_)
    except json_grammar.Unsupported as error:
        raise Invalid(f"response_format: {error}") from None


def _forced_tools(request: Common) -> str | None:
    """Grammar of a call where the client wants one for certain."""
    if not isinstance(request, ChatRequest) or request.tool_choice in (None, "none", "auto"):
        return None
    tools = [tool.function.model_dump() for tool in request.tools or ()]
    if isinstance(request.tool_choice, ToolChoice):
        name = request.tool_choice.function.name
        tools = [tool for tool in tools if tool["name"] == name]
        if not tools:
            raise Invalid(f"tool_choice: there is no tool {name!r}")
    if not tools:
        raise Invalid("tool_choice: there are no tools")
    try:
        return grammar_of_tools(tools)
    except json_grammar.Unsupported as error:
        raise Invalid(f"tools: {error}") from None


def prompts_of(request: CompletionRequest) -> list[str] | list[list[int]]:
    """The prompts of a completion request, as texts or as token numbers."""
    if request.suffix:
        raise Invalid("suffix: this model does not fill gaps")
    if request.best_of not in (None, request.n or 1):
        raise Invalid("best_of: only as many answers are made as are asked for by n")
    if request.echo and request.stream:
        raise Invalid("echo: not in a stream")
    given = request.prompt
    if isinstance(given, str):
        return [given]
    if not given:
        raise Invalid("prompt: it is empty")
    if len(given) > MOST_PROMPTS and not isinstance(given[0], int):
        raise Invalid(f"prompt: {len(given)} prompts, at most {MOST_PROMPTS} come in one request")
    if isinstance(given[0], int):
        return [[one for one in given if isinstance(one, int)]]
    if isinstance(given[0], str):
        return [one for one in given if isinstance(one, str)]
    return [one for one in given if isinstance(one, list)]


def fitted(taken: Intake, tokens: Sequence[int], limits: Limits) -> Sampling:
    """The sampling of one prompt, its answer no longer than fits behind it. Invalid with the numbers when none does."""
    size = len(tokens)
    if not size:
        raise Invalid("prompt: it has no tokens")
    strange = next((token for token in tokens if not 0 <= token < limits.vocabulary), None)
    if strange is not None:
        raise Invalid(f"prompt: token {strange} is none of the model's {limits.vocabulary}")
    room = limits.context - size
    if room < 1:
        raise Invalid(
            f"the prompt has {size} tokens, and prompt and answer together may have {limits.context}: shorten it"
        )
    if taken.max_tokens is not None and taken.max_tokens > room:
        raise Invalid(
            f"the prompt has {size} tokens and {taken.max_tokens} are asked for, {size + taken.max_tokens} together: "
            f"this model takes {limits.context}"
        )
    most = room if taken.max_tokens is None else taken.max_tokens
    if taken.sampling.min_tokens > most:
        raise Invalid(f"min_tokens is {taken.sampling.min_tokens}, more than the {most} that the answer may have")
    return replace(taken.sampling, max_tokens=most)
