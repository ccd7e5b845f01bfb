"""What llama.cpp's server says of tokens, texts and templates."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import numpy as np

from refrain.chat.records import Message
from refrain.runtime.language_model import Logits

BIAS = 1e4  # of a letter that is always next: for an end, or for half a character, the server tells no probabilities
TIMEOUT = 600  # seconds, for a large vocabulary on a busy machine


class Token(msgspec.Struct):
    id: int
    logprob: float | None


class Position(msgspec.Struct):
    top_logprobs: list[Token]


class Completion(msgspec.Struct):
    completion_probabilities: list[Position]


def log_probabilities(url: str, ids: Sequence[int], vocabulary: int, letter: int) -> Logits:
    """Of every token after these ids; minus infinity for a token that the server does not know."""
    body = {"prompt": [*ids], "n_predict": 1, "n_probs": vocabulary, "temperature": 0, "cache_prompt": True,
            "post_sampling_probs": False, "logit_bias": [[letter, BIAS]]}  # fmt: skip
    (position,) = msgspec.json.decode(post(f"{url}/completion", body), type=Completion).completion_probabilities
    result = np.full(vocabulary, -np.inf, dtype=np.float32)
    for token in position.top_logprobs:
        if token.id < vocabulary and token.logprob is not None:
            result[token.id] = token.logprob
    return result


def tokenize(url: str, text: str) -> list[int]:
    """The ids of a text, whose control tokens are control tokens."""
    body = {"content": text, "parse_special": True, "add_special": False}
    return list(json.loads(post(f"{url}/tokenize", body))["tokens"])


def apply_template(url: str, messages: Sequence[Message]) -> str | None:
    """The prompt that the file's template makes; None where llama.cpp cannot render it."""
    try:
        return str(json.loads(post(f"{url}/apply-template", {"messages": messages}))["prompt"])
    except HTTPError:
        return None


def read_properties(url: str) -> dict[str, Any]:
    """What the server says of the model that it has opened."""
    with urlopen(f"{url}/props", timeout=TIMEOUT) as response:
        return dict(json.load(response))


def post(url: str, body: dict[str, Any]) -> bytes:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=TIMEOUT) as response:
        return bytes(response.read())
