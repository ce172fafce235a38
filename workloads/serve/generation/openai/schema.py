"""Requests of OpenAI's completions and chat completions, with vLLM's further sampling fields. Pure.

An unknown field is refused by name, as OpenAI does: what would change the answer must not be ignored.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workloads.serve.errors import Invalid

LONGEST_STOP = 1024  # characters
MOST_STOPS = 16
MOST_CHOICES = 128
MOST_PROMPTS = 256
MOST_MESSAGES = 4096
MOST_TOOLS = 128


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class StreamOptions(_Model):
    """`include_usage`: a last event without choices, that holds the usage."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class JsonSchema(_Model):
    """A schema that the answer shall follow; it is always followed strictly."""

    name: Annotated[str, Field(max_length=64)] = "answer"
    description: str | None = None
    schema_: Any = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(_Model):
    """Form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


Number = Annotated[float, Field(allow_inf_nan=False)]


class Common(_Model):
    """Fields of both. Those without effect are of OpenAI's own accounts, or name what is so anyway."""

    model: Annotated[str, Field(max_length=256)] = ""
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = 1
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    stop: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]],
        Field(max_length=MOST_STOPS),
        BeforeValidator(_listed),
    ] = []
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = 0.0
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = 0.0
    logit_bias: dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    # vLLM's.
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=2)] | None = None
    ignore_eos: bool | None = False
    min_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = 0
    stop_token_ids: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=64)] | None = None
    # Of OpenAI's accounts; no answer hangs on them.
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


Kind = TypeVar("Kind", bound=Common)


class CompletionRequest(Common):
    """POST /v1/completions."""

    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = False
    best_of: int | None = None
    suffix: str | None = None


class FunctionCall(_Model):
    """A call of a tool that an assistant has made."""

    name: str
    arguments: str = ""


class CalledTool(_Model):
    """The same in a message."""

    id: str = ""
    type: Literal["function"] = "function"
    index: int | None = None
    function: FunctionCall


class TextPart(_Model):
    """Part of a message that is text, the one kind that a language model reads."""

    type: Literal["text"]
    text: str


class Message(_Model):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: Annotated[list[CalledTool], Field(max_length=MOST_TOOLS)] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None

    def document(self) -> dict[str, Any]:
        """The message for a chat template; a content of parts is one text."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text for part in content)
        message: dict[str, Any] = {"role": self.role, "content": content or ""}
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump(exclude_none=True) for call in self.tool_calls]
        for name in ("name", "tool_call_id"):
            if (value := getattr(self, name)) is not None:
                message[name] = value
        return message


class Function(_Model):
    """A tool that the model may call."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_.-]+$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Model):
    """The same with its kind."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Model):
    """Name of a tool."""

    name: str


class ToolChoice(_Model):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class ChatRequest(Common):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool = True


def parsed(kind: type[Kind], body: bytes) -> Kind:
    """A request, checked. Raises Invalid with the first field that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        words = "is not a field that this server knows" if first["type"] == "extra_forbidden" else first["msg"]
        raise Invalid(f"{place}: {words}" if place else words) from None
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the body is no JSON object ({error})") from None
