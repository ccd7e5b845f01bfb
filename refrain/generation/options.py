"""How a reply is made, as keyword arguments from Python: OpenAI's and vLLM's names, checked at once."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypedDict

from refrain.chat.encoding import ChatTokenizer
from refrain.generation import sampling
from refrain.generation.grammar import Grammar
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams


class Options(TypedDict, total=False):
    """What is not given is as in `sampling.SamplingParams`; but a seed, which is drawn."""

    max_tokens: int | None  # of the reply; None for as many as the model can see
    stop: str | list[str] | None  # text that ends the reply, and is no part of it
    seed: int | None
    schema: Any  # a JSON schema, or a class with model_json_schema, as pydantic's have
    regex: str | None
    logprobs: int | None  # how many of the likeliest tokens beside each; None for no log-probabilities
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[int, float]


SEEDS = 2**32  # of which one is drawn


def check_options(options: Mapping[str, Any]) -> Options:
    """The options, of the right types; TypeError for a name that is none, ValueError for a value of another type."""
    import msgspec  # a command, whose options are of the right types, starts without it

    for name in options:
        if name not in Options.__annotations__:
            from difflib import get_close_matches

            near = get_close_matches(name, Options.__annotations__, 1)
            way_out = f"did you mean {near[0]}?" if near else f"there are {', '.join(Options.__annotations__)}"
            raise TypeError(f"{name}: there is no such option; {way_out}")
    try:
        return msgspec.convert(dict(options), Options)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        raise ValueError(f"{place.rstrip('`') or 'options'}: {reason[0].lower()}{reason[1:]}") from error


def make_request(
    tokenizer: ChatTokenizer,
    context: int,
    prompt_ids: list[int],
    options: Options,
    grammar: Grammar | None,
    is_chat: bool,
) -> GenerationRequest:
    """The reply that is asked for; ValueError when an option has no meaning, or the prompt does not fit."""
    if not prompt_ids:
        raise ValueError("the prompt: it has no tokens; a model needs one to begin with")
    if len(prompt_ids) >= context:
        raise ValueError(f"the prompt: {len(prompt_ids)} tokens, but the model sees {context}; shorten it")
    room = context - len(prompt_ids)
    if (max_tokens := options.get("max_tokens")) is not None and max_tokens < 1:
        raise ValueError(f"max_tokens: {max_tokens} is out of range; give 1 or more, or None for all that fit")
    logprobs = options.get("logprobs")
    if logprobs is not None and logprobs < 0:
        raise ValueError(f"logprobs: {logprobs} is out of range; give how many tokens to name beside each, from 0")
    return GenerationRequest(
        prompt_ids,
        sampling_params(options, tokenizer.tokenizer.get_vocab_size()),
        min(room, max_tokens or room),
        stop_strings(options),
        grammar,
        logprobs,
        is_chat,
    )


def sampling_params(options: Options, vocab_size: int | None) -> SamplingParams:
    """How tokens are chosen, with a seed that is drawn where none is given."""
    names = {field.name for field in fields(SamplingParams)}
    given = {name: value for name, value in options.items() if name in names and value is not None}
    params = SamplingParams(**({"seed": secrets.randbelow(SEEDS)} | given))  # type: ignore[arg-type]
    sampling.validate(params, vocab_size)
    return params


def stop_strings(options: Options) -> tuple[str, ...]:
    """Texts that end a reply; ValueError for an empty one."""
    stop = options.get("stop") or []
    texts = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in texts or options.get("stop") == "":
        raise ValueError("stop: an empty text would end every reply at once; leave it out")
    return texts


def grammar_source(options: Options) -> tuple[str | None, str | None]:
    """The JSON schema, as text, and the regular expression that the reply must match."""
    schema: Any = options.get("schema")
    if hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    if schema is None:
        return None, options.get("regex")
    if not isinstance(schema, dict):
        raise ValueError('schema: it is no JSON schema; give a dict, such as {"type": "object"}, or a pydantic class')
    try:
        return json.dumps(schema), options.get("regex")
    except (TypeError, ValueError) as error:
        raise ValueError(f"schema: it is not JSON ({error}); give texts, numbers, lists and dicts") from error
