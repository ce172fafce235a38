"""Texts to tokens for a request, on threads of their own: a long prompt must not stand before everybody's tokens."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workloads.errors import BadInput, Unavailable
from workloads.language.chat_template import ChatTemplate
from workloads.language.text_tokenizer import TextTokenizer
from workloads.serve.errors import EngineFailed, Invalid
from workloads.serve.generation.openai.schema import ChatRequest

AT_ONCE = 4096  # characters that are cut on the loop: well below a millisecond
CERTAIN = 1 << 20  # characters; a longer text that cannot fit is refused before it is cut
RESERVED = frozenset({"messages", "add_generation_prompt", "tools", "documents", "generation"})


class Texts:
    """Tokenizer and chat template of one model. `context`: tokens that a prompt can have at most."""

    def __init__(self, tokenizer: TextTokenizer, template: ChatTemplate | None, context: int) -> None:
        self.tokenizer = tokenizer
        self._template = template
        self._most = max(CERTAIN, context * tokenizer.longest)
        self._context = context
        self._cutters = ThreadPoolExecutor(1, "tokens")
        self._renderers = ThreadPoolExecutor(1, "chats")

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens without special ones."""
        return self.tokenizer.decode(tokens)

    async def prompts(self, given: Sequence[str] | Sequence[Sequence[int]]) -> list[list[int]]:
        """Tokens of a completion's prompts, with those that the tokenizer adds."""
        return [
            await self._cut(one, special=True) if isinstance(one, str) else [int(token) for token in one]
            for one in given
        ]

    async def chat(self, request: ChatRequest) -> list[int]:
        """Tokens of a chat. Raises Invalid where the model has no template, or that refuses the chat."""
        template = self._template
        if template is None:
            raise Invalid("this model has no chat template: use /v1/completions")
        more = request.chat_template_kwargs or {}
        if strange := sorted(RESERVED & set(more)):
            raise Invalid(f"chat_template_kwargs: {strange[0]} is said by the request itself")
        tools: Any = None
        if request.tools and request.tool_choice != "none":
            tools = [tool.model_dump(exclude_none=True) for tool in request.tools]
        messages = [message.document() for message in request.messages]

        def render() -> str:
            return template.render(messages, generation=request.add_generation_prompt, tools=tools, **more).text

        try:
            text = await asyncio.get_running_loop().run_in_executor(self._renderers, render)
        except BadInput as error:
            raise Invalid(f"messages: {error}") from None
        except Unavailable as error:
            raise EngineFailed(str(error)) from None
        return await self._cut(text, special=False)

    async def _cut(self, text: str, *, special: bool) -> list[int]:
        if len(text) > self._most:
            raise Invalid(
                f"the prompt has {len(text)} characters, and no text of more than {self._most} can fit into "
                f"{self._context} tokens: shorten it"
            )
        try:
            if len(text) <= AT_ONCE:
                return self.tokenizer.encode(text, special=special).ids
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._cutters, lambda: self.tokenizer.encode(text, special=special))
        except (UnicodeError, TypeError) as error:  # half of a surrogate pair
            raise Invalid(f"the prompt is no text ({error})") from None
        return found.ids

    def close(self) -> None:
        """End the template's process and the threads."""
        self._cutters.shutdown(wait=False, cancel_futures=True)
        self._renderers.shutdown(wait=False, cancel_futures=True)
        if self._template is not None:
            self._template.close()
