"""Checks 13 to 26 but for answers: what is honoured, and what is refused before anything is said."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from refrain.serving.selftest.client import Answer, Target, text_of
from refrain.serving.selftest.outcome import Check, CheckFailedError, NotApplicableError, require, require_refused

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather in a town", "parameters": {"type": "object"}},
}
CONTROL_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>", "</s>")


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
    answer = target.chat("word " * 100_000)
    require(answer.status in (400, 413), f"100,000 words: {answer.status}")
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


CHECKS = [
    Check(13, "every error has one shape", check_error_form),
    Check(14, "a prompt that is too long has a code of its own", check_too_long),
    Check(15, "no prompt is cut without a word", check_never_cut),
    Check(16, "each request sees the whole context", check_whole_context),
    Check(17, "max_completion_tokens is honoured", check_max_tokens),
    Check(18, "a value without a meaning is refused by name", check_meaningless),
    Check(19, "a field without effect is refused or named", check_unknown_fields),
    Check(24, "tools are shown to the model, or refused", check_tools),
    Check(25, "content may come in parts", check_content_parts),
    Check(26, "control tokens that are typed stay text", check_control_tokens),
]
