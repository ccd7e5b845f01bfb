"""Checks 20 to 23 and 27: what was asked of an answer is in it, and the same question has the same answer."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from refrain.serving.selftest.client import Target, text_of
from refrain.serving.selftest.outcome import Check, CheckFailedError, NotApplicableError, require, require_refused

PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["age"],
    "additionalProperties": False,
}


def json_schema(schema: Any) -> dict[str, Any]:
    """OpenAI's nested form."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def check_choices(target: Target) -> str:
    """n choices, by index, that differ and repeat."""
    first, second = (target.chat("Hi", n=3, seed=7, temperature=1.5, max_tokens=12) for _ in range(2))
    require(first.status == 200, f"n 3: {first.status} {first.error.get('message')}")
    texts = [[choice["message"]["content"] for choice in answer.json()["choices"]] for answer in (first, second)]
    require(len(texts[0]) == 3, f"n 3: {len(texts[0])} choices")
    require(texts[0] == texts[1], "the same seed gives other choices")
    require(len(set(texts[0])) > 1, "all choices are equal")
    require([choice["index"] for choice in first.json()["choices"]] == [0, 1, 2], "indexes are not 0, 1, 2")
    return f"{len(set(texts[0]))} of 3 differ, and repeat"


def check_logprobs(target: Target) -> str:
    """Log-probabilities have OpenAI's shape, and bytes that are the text."""
    answer = target.chat("Hi", logprobs=True, top_logprobs=2, max_tokens=8)
    require(answer.status == 200, f"logprobs: {answer.status}")
    choice = answer.json()["choices"][0]
    content = (choice.get("logprobs") or {}).get("content") or []
    require(bool(content), "no logprobs.content")
    for token in content:
        missing = {"token", "logprob", "bytes", "top_logprobs"} - token.keys()
        require(not missing, f"a token without {', '.join(sorted(missing))}")
        require(len(token["top_logprobs"]) == 2 and token["logprob"] <= 0, "2 of the likeliest were asked for")
    joined = b"".join(bytes(token["bytes"] or []) for token in content).decode(errors="replace")
    require(choice["message"]["content"].strip() in joined, f"the bytes say {joined!r}")
    alone = target.chat("Hi", logprobs=True, max_tokens=4)
    require(alone.status == 200, f"logprobs without top_logprobs: {alone.status}")
    tops = [token["top_logprobs"] for token in alone.json()["choices"][0]["logprobs"]["content"]]
    require(tops == [[]] * len(tops), "without top_logprobs there are some")
    return f"{len(content)} tokens"


def check_stops(target: Target) -> str:
    """A stop string as text, as a list, as null; not an empty one."""
    whole = text_of(target.chat("What is it?"))
    letter = whole.strip()[1:2]
    if not letter:
        raise NotApplicableError(f"the answer {whole!r} is too short to stop inside")
    for stop in (letter, [letter], ["\x00", letter, "\x01", "\x02", "\x03"]):
        answer = target.chat("What is it?", stop=stop)
        require(answer.status == 200, f"stop {stop!r}: {answer.status}")
        require(text_of(answer) == whole[: whole.index(letter)], f"stop {stop!r} has no effect")
    require(text_of(target.chat("What is it?", stop=None)) == whole, "stop null changes the answer")
    require_refused(target.chat("What is it?", stop=""), "stop ''", "stop")
    return f"stops at {letter!r}"


def check_schema(target: Target) -> str:
    """A schema is kept to, and one that cannot be is refused."""
    answer = target.chat("How old are you?", response_format=json_schema(PERSON), max_tokens=60)
    require(answer.status == 200, f"json_schema: {answer.status} {answer.error.get('message')}")
    try:
        found = json.loads(text_of(answer))
    except ValueError as error:
        raise CheckFailedError(f"{text_of(answer)!r} is no JSON") from error
    require(isinstance(found, dict) and set(found) == {"age"} and found["age"] in range(10), f"{found} does not match")
    broken = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=x)y"}}, "required": ["a"]}
    require_refused(target.chat("Hi", response_format=json_schema(broken)), "a pattern that cannot be compiled")
    return json.dumps(found)


def check_company(target: Target) -> str:
    """The same bytes alone and among 8, log-probabilities too."""
    asked = [f"What is {number} and {number}?" for number in range(8)]

    def ask(text: str) -> Any:
        choice = target.chat(text, logprobs=True, max_tokens=16).json()["choices"][0]
        return choice["message"]["content"], [token["logprob"] for token in choice["logprobs"]["content"]]

    alone = [ask(text) for text in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, asked))
    texts = sum(one[0] == other[0] for one, other in zip(alone, together, strict=True))
    equal = sum(one == other for one, other in zip(alone, together, strict=True))
    require(equal == 8, f"{texts} of 8 texts are equal, {equal} with their log-probabilities")
    return "8 of 8 equal, with their log-probabilities"


CHECKS = [
    Check(20, "n choices come, differ and repeat", check_choices),
    Check(21, "log-probabilities have OpenAI's shape", check_logprobs),
    Check(22, "stop strings end a reply", check_stops),
    Check(23, "a JSON schema is kept to, or refused", check_schema),
    Check(27, "the same answer alone and in company", check_company),
]
