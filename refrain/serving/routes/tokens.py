"""POST /tokenize, /detokenize and /apply-template, as vLLM and llama.cpp have them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.chat.encoding import ChatTokenizer
from refrain.serving.api.body import read_body
from refrain.serving.api.fields import ChatFields, OutputFields, SamplingFields
from refrain.serving.api.tokens import DetokenizeFields, TokenizeFields
from refrain.serving.errors import invalid_value
from refrain.serving.requests import conversation, prompts
from refrain.serving.requests.served_tokenizer import ServedTokenizer


async def tokenize(request: Request) -> JSONResponse:
    """The ids of a text or of a conversation, their number, and what is left of the context."""
    server = request.app.state.server
    given = await read_body(request, (TokenizeFields,), server.settings.lenient)
    fields = given.convert(TokenizeFields)
    model = await server.models.find(fields.model)
    tokenizer = server.tokenizers.find(model)
    texts = [text for text in (fields.prompt, fields.content) if text is not None]
    if len(texts) + (fields.messages is not None) != 1:
        raise invalid_value("prompt", "prompt: /tokenize takes one text, or messages in its place; give one of them")
    adds_special = fields.add_special if fields.add_special_tokens is None else fields.add_special_tokens
    if fields.messages is not None:
        size = prompts.estimate_size(fields.messages)
        ids = await prompts.run_aside(size, encode_messages, fields, tokenizer, model.backend.context)
    else:
        ids = await prompts.run_aside(
            len(texts[0]), encode_text, tokenizer.tokenizer, texts[0], adds_special, fields.parse_special
        )
    names = [tokenizer.tokenizer.tokenizer.id_to_token(token) for token in ids]
    context = model.backend.context
    counts = {"count": len(ids), "max_model_len": context, "left": max(0, context - len(ids))}
    pieces = {"pieces": describe_tokens(tokenizer, ids)} if fields.with_pieces else {}
    token_strs = {"token_strs": names} if fields.return_token_strs else {}
    return JSONResponse({**counts, "tokens": ids, **token_strs, **pieces}, headers=given.headers())


def encode_text(
    tokenizer: ChatTokenizer, text: str, adds_special: bool | None, parses_special: bool | None
) -> list[int]:
    """The ids of a text; control tokens in it are text where that is wanted."""
    if parses_special is False:
        encoded = tokenizer.index.verbatim.encode(text, add_special_tokens=False)
        return list(encoded.ids)
    return prompts.encode_text(tokenizer, text, adds_special is not False)


def describe_tokens(tokenizer: ServedTokenizer, ids: list[int]) -> list[dict[str, Any]]:
    """Each id with its text, or its bytes where it is a part of a character."""
    return [{"id": token, "piece": describe_piece(tokenizer, token)} for token in ids]


def describe_piece(tokenizer: ServedTokenizer, token: int) -> str | list[int]:
    """What a token stands for."""
    found = tokenizer.token_bytes.find(token)
    if found is None:
        return str(tokenizer.tokenizer.tokenizer.id_to_token(token))
    try:
        return found.decode()
    except UnicodeDecodeError:
        return list(found)


def encode_messages(fields: TokenizeFields, tokenizer: ServedTokenizer, context: int) -> list[int]:
    """The ids that a chat request of these messages would have, or those of its text where it is too long for one."""
    chat = ChatFields(
        messages=fields.messages or [],
        tools=fields.tools,
        add_generation_prompt=fields.add_generation_prompt,
        continue_final_message=fields.continue_final_message,
    )
    found = conversation.read_conversation(chat, tokenizer)
    if found.count(found.turns) > context:
        return prompts.encode_text(tokenizer.tokenizer, found.render(found.turns)[0], add_special_tokens=False)
    conversation.check_writable(found, found.turns, tokenizer)
    return found.encode(found.turns)


async def detokenize(request: Request) -> JSONResponse:
    """The text of ids, with its control tokens."""
    server = request.app.state.server
    given = await read_body(request, (DetokenizeFields,), server.settings.lenient)
    fields = given.convert(DetokenizeFields)
    tokenizer = (await server.models.find(fields.model)).backend.tokenizer
    ids = prompts.check_ids(tokenizer, fields.tokens, "tokens")
    text = await prompts.run_aside(len(ids), decode, tokenizer, ids)
    return JSONResponse({"prompt": text, "content": text}, headers=given.headers())  # vLLM's name, and llama.cpp's


def decode(tokenizer: ChatTokenizer, ids: list[int]) -> str:
    return str(tokenizer.tokenizer.decode(ids, skip_special_tokens=False))


async def apply_template(request: Request) -> JSONResponse:
    """The prompt of a conversation as the template writes it, and the places of control tokens in it that are text."""
    server = request.app.state.server
    given = await read_body(request, (ChatFields, OutputFields, SamplingFields), server.settings.lenient)
    fields = given.convert(ChatFields)
    tokenizer = server.tokenizers.find(await server.models.find(given.convert(OutputFields).model))
    text, typed = await prompts.run_aside(prompts.estimate_size(fields.messages), render, fields, tokenizer)
    return JSONResponse({"prompt": text, "typed": typed}, headers=given.headers())


def render(fields: ChatFields, tokenizer: ServedTokenizer) -> tuple[str, list[int]]:
    """The text of a conversation, and the places of typed control tokens in it."""
    found = conversation.read_conversation(fields, tokenizer)
    return found.render(found.turns)


ROUTES = [
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/apply-template", apply_template, methods=["POST"]),
]
