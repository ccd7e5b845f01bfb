"""What /tokenize and /detokenize take; of two names for one thing the first is vLLM's, the second llama.cpp's."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class TokenizeFields(msgspec.Struct, kw_only=True, frozen=True):
    """A text or a conversation whose ids are wanted."""

    model: str | None = None
    prompt: str | None = None
    content: Annotated[str | None, Meta(description="Another name of prompt.")] = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: Annotated[bool | None, Meta(description="Begin a text as the tokenizer does.")] = None
    add_special: Annotated[bool | None, Meta(description="Another name of add_special_tokens.")] = None
    parse_special: Annotated[bool | None, Meta(description="false: control tokens in a text are text.")] = None
    return_token_strs: Annotated[bool | None, Meta(description="The names of the tokens too.")] = None
    with_pieces: Annotated[bool | None, Meta(description="The text or the bytes of each token too.")] = None


class DetokenizeFields(msgspec.Struct, kw_only=True, frozen=True):
    """Ids whose text is wanted."""

    model: str | None = None
    tokens: list[int]
