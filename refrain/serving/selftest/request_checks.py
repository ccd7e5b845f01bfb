"""Checks 13 to 27: what is honoured, what is refused, and that the same question has the same answer."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from refrain.serving.selftest.client import Answer, Target, text_of
from refrain.serving.selftest.outcome import Check, CheckFailedError, NotApplicableError, require, require_refused

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather in a town", "parameters": {"type": "object"}},
}
CONTROL_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>", "</s>")
PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["age"],
    "additionalProperties": False,
}


def json_schema(schema: Any) -> dict[str, Any]:
    """OpenAI's nested form."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def usage(answer: Answer, name: str) -> int:
    """A count of an answer; CheckFailedError where it has none."""
    try:
        return int(answer.json()["usage"][name])
    except (TypeError, KeyError) as error:
        raise CheckFailedError(f"{answer.status}: no usage.{name}") from error


def check_error_form(target: Target) -> str:
    """Every error has one shape."""
    answers = {
        "an unknown path": target.get("/v1/nothing-here"),
        "GET of a route for POST": target.get("/v1/chat/completions"),
        "no JSON": target.post("/v1/chat/completions", b"{"),
        "a list": target.post("/v1/chat/completions", []),
        "an unknown model": target.post("/v1/chat/completions", {"model": "no-such-model", "messages": []}),
    }
    for what, answer in answers.items():
        require(400 <= answer.status < 500, f"{what}: {answer.status}")
        missing = {"message", "type", "param", "code"} - answer.error.keys()
        require(not missing, f"{what}: {answer.status} without error.{', error.'.join(sorted(missing))}")
    return f"{len(answers)} errors alike"


def check_too_long(target: Target) -> str:
    """A prompt that is too long has a code of its own."""
    answer = target.chat("word " * 400_000)
    require(answer.status in (400, 413), f"400,000 words: {answer.status}")
    answer = target.chat("word " * (2 * find_context(target)))
    require(answer.status == 400, f"twice the context: {answer.status}")
    require(answer.error.get("code") == "context_length_exceeded", f"code: {answer.error.get('code')}")
    return "context_length_exceeded"


def find_context(target: Target) -> int:
    """Tokens that the model sees, as /v1/models or llama.cpp's /props say."""
    models = target.get("/v1/models").json() or {}
    for model in models.get("data", []):
        found = model.get("max_model_len") or (model.get("meta") or {}).get("n_ctx_train")
        if found:
            return int(found)
    raise NotApplicableError("/v1/models does not say how many tokens the model sees")


def check_never_cut(target: Target) -> str:
    """A long prompt is counted whole, or refused."""
    words = find_context(target) // 4
    short, long = target.chat("word " * 4), target.chat("word " * words)
    if long.status == 400:
        return "refused whole"
    grown = usage(long, "prompt_tokens") - usage(short, "prompt_tokens")
    require(grown >= (words - 4) // 2, f"{words} words more are {grown} tokens more")
    return f"{grown} tokens of {words} words"


def check_whole_context(target: Target) -> str:
    """Each of several requests sees the whole context."""
    context = find_context(target)
    count = usage(target.chat("word " * 64), "prompt_tokens") / 64
    words = int(0.8 * context / max(1.0, count))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: target.chat("word " * words, max_tokens=1), range(2)))
    for answer in answers:
        require(
            answer.status == 200, f"{words} words of {context} tokens: {answer.status} {answer.error.get('message')}"
        )
    return f"{usage(answers[0], 'prompt_tokens')} of {context} tokens, twice at once"


def check_max_tokens(target: Target) -> str:
    """max_completion_tokens is max_tokens."""
    body = target.chat_body("Hi", {"max_completion_tokens": 3, "stop": None})
    del body["max_tokens"]
    answer = target.post("/v1/chat/completions", body)
    require(usage(answer, "completion_tokens") <= 3, f"3 were asked for, {usage(answer, 'completion_tokens')} came")
    require_refused(target.chat("Hi", max_tokens=3, max_completion_tokens=4), "3 and 4 at once", "max_")
    reason = target.chat("Hi", max_tokens=1).json()["choices"][0]["finish_reason"]
    require(reason in ("length", "stop"), f"finish_reason: {reason}")
    return "honoured"


def check_meaningless(target: Target) -> str:
    """Values without a meaning are refused by name."""
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("temperature -1", {"temperature": -1}, "temperature"),
        ("top_p 2", {"top_p": 2}, "top_p"),
        ("max_tokens 0", {"max_tokens": 0}, "max_tokens"),
        ("messages []", {"messages": []}, "messages"),
        ("content null", {"messages": [{"role": "user", "content": None}]}, "content"),
        ("role robot", {"messages": [{"role": "robot", "content": "Hi"}]}, "role"),
        ("tool_choice required without tools", {"tool_choice": "required"}, "tool"),
        ("json_schema without a schema", {"response_format": {"type": "json_schema"}}, "schema"),
        ("n 0", {"n": 0}, "n"),
        ("an image", {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}]}, "image"),
    ]  # fmt: skip
    for what, fields, name in cases:
        require_refused(target.chat("Hi", **fields), what, name)
    return f"{len(cases)} of {len(cases)} refused by name"


def check_unknown_fields(target: Target) -> str:
    """A field without effect is refused, or named in a header."""
    answer = target.chat("Hi", tempratur=1)
    ignored = " ".join(value for name, value in answer.headers.items() if "ignored" in name)
    if answer.status == 200 and "tempratur" in ignored:
        return "named in a header"
    require_refused(answer, "tempratur: 1", "tempratur")
    return "refused by name"


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


def check_tools(target: Target) -> str:
    """Tools are shown to the model, or refused."""
    for none in (list[Any](), None):
        require(target.chat("Hi", tools=none).status == 200, f"tools {none} is refused")
    with_tools = target.chat("Hi", tools=[TOOL])
    if with_tools.status == 400:
        require_refused(with_tools, "tools", "tools")
        return "refused: the template takes none"
    grown = usage(with_tools, "prompt_tokens") - usage(target.chat("Hi"), "prompt_tokens")
    require(grown > 5, f"tools are taken, and the prompt is {grown} tokens longer: they are dropped")
    return f"{grown} tokens of the prompt"


def check_content_parts(target: Target) -> str:
    """Text in parts, a prompt in every form, the role developer."""
    whole = text_of(target.chat("What is it?"))
    parts = [{"type": "text", "text": "What is it?"}]
    require(text_of(target.chat([{"role": "user", "content": parts}])) == whole, "a part of text is not the text")
    parts = [{"type": "text", "text": f"{number} words in a part."} for number in range(5)]
    grown = usage(target.chat([{"role": "user", "content": parts}]), "prompt_tokens") - usage(
        target.chat(parts[0]["text"]), "prompt_tokens"
    )
    require(grown > 15, f"4 parts more are {grown} tokens more of the prompt")
    roles = [[{"role": role, "content": "Be brief."}, {"role": "user", "content": "Hi"}] for role in
             ("developer", "system")]  # fmt: skip
    developer, system = (target.chat(messages) for messages in roles)
    require(developer.status == system.status, f"developer: {developer.status}, system: {system.status}")
    model = {} if target.model is None else {"model": target.model}
    for prompt in ("Hi", ["Hi", "Ho"], [72, 105], [[72, 105]]):
        answer = target.post("/v1/completions", {**model, "prompt": prompt, "max_tokens": 2, "temperature": 0})
        require(answer.status == 200, f"prompt {prompt!r}: {answer.status} {answer.error.get('message')}")
    return "all parts read; 4 forms of a prompt"


def check_control_tokens(target: Target) -> str:
    """A control token that a person types is text."""
    base = usage(target.chat("ab"), "prompt_tokens")
    for token in CONTROL_TOKENS:
        grown = usage(target.chat(f"a{20 * token}b"), "prompt_tokens") - base
        require(grown > 30, f"20 times {token} are {grown} tokens of the prompt: turns can be forged")
    return f"{len(CONTROL_TOKENS)} of {len(CONTROL_TOKENS)} are text"


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
    Check(13, "every error has one shape", check_error_form),
    Check(14, "a prompt that is too long has a code of its own", check_too_long),
    Check(15, "no prompt is cut without a word", check_never_cut),
    Check(16, "each request sees the whole context", check_whole_context),
    Check(17, "max_completion_tokens is honoured", check_max_tokens),
    Check(18, "a value without a meaning is refused by name", check_meaningless),
    Check(19, "a field without effect is refused or named", check_unknown_fields),
    Check(20, "n choices come, differ and repeat", check_choices),
    Check(21, "log-probabilities have OpenAI's shape", check_logprobs),
    Check(22, "stop strings end a reply", check_stops),
    Check(23, "a JSON schema is kept to, or refused", check_schema),
    Check(24, "tools are shown to the model, or refused", check_tools),
    Check(25, "content may come in parts", check_content_parts),
    Check(26, "control tokens that are typed stay text", check_control_tokens),
    Check(27, "the same answer alone and in company", check_company),
]
