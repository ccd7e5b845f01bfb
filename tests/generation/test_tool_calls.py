"""Calls are read from a reply by the inverse of how each template writes them."""

import json

import pytest
import tool_templates
import traced_model

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.generation import tool_calls
from refrain.generation.grammar import Grammar, GrammarState
from refrain.generation.tool_calls import find_call_form

READ = ("qwen2_5", "qwen3", "llama3_1", "llama3_2", "deepseekv3", "deepseek_r1_distill", "mistral", "hermes")
NOT_READ = ("chatml", "gemma", "alpaca", "short_qwen3", "lfm2_2_5", "qwen3_8")  # none, or arguments that are no JSON
ALONE = ("llama3_1", "llama3_2")  # one call at a time
WEATHER = {"name": "weather", "arguments": {"city": 'Os"lo 🙂', "days": [1, {"a": None}]}}


def load(name):
    special = {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>"}
    return ChatTokenizer(traced_model.tokenizer(), tool_templates.TOOL_TEMPLATES[name], special)


def written(tokenizer, count):
    """The calls as the template writes them for a reply, up to where it ends."""
    calls = [{"id": f"abcdefgh{nth}", "type": "function", "function": WEATHER} for nth in range(count)]
    messages = [tool_templates.asks(), tool_templates.calls(*calls)]
    prompt = encoding.render_text(tokenizer, messages[:1], [tool_templates.WEATHER], add_generation_prompt=True)
    text = encoding.render_text(tokenizer, messages, [tool_templates.WEATHER])
    text = text.removeprefix(prompt) if text.startswith(prompt) else text.rpartition("Assistant\uff5c>")[2]
    for end in ("<|im_end|>", "<|eot_id|>", "<\uff5cend", "<|endoftext|>"):
        text = text.partition(end)[0]
    return text.removeprefix(tool_calls.find_opening(tokenizer))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", READ)
def test_calls_are_read_as_they_are_written(name, count):
    tokenizer = load(name)
    form = find_call_form(tokenizer)
    if count == 2 and name in ALONE:
        assert form.separator is None
        return
    text = written(tokenizer, count)
    assert form.parse(text, {"weather"}) == ("", [WEATHER] * count)
    assert form.parse(f"I look. {text.replace(' ', '  ')}\n", {"weather"}).content == "I look."
    assert text.lstrip().startswith(form.marker)


@pytest.mark.parametrize("name", NOT_READ)
def test_other_forms_are_known_as_such(name):
    assert find_call_form(load(name)) is None


@pytest.mark.parametrize("name", READ)
def test_what_is_no_whole_call_of_a_tool_is_words(name):
    tokenizer = load(name)
    form, text = find_call_form(tokenizer), written(tokenizer, 1)
    assert form.parse(text, {"other"}) is None
    assert form.parse("It rains.", {"weather"}) is None
    at = text.index("days")
    assert form.parse(text[:at], {"weather"}) is None
    assert form.parse(text.replace('"days": [1', '"days": [1,,'), {"weather"}) is None
    assert form.parse(text[:at] + '": ' + "[" * 100_000, {"weather"}) is None


@pytest.mark.parametrize("name", READ)
def test_a_grammar_takes_calls_and_nothing_else(name):
    tokenizer = load(name)
    form = find_call_form(tokenizer)
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}},
             {"type": "function", "function": {"name": "time"}}]  # fmt: skip
    rules = tool_calls.call_grammar(form, tokenizer.index.special_ids, tools, may_repeat=True)
    state = GrammarState(Grammar(tokenizer, None, None, rules))
    call = json.dumps({"city": "Oslo"})
    parts = ("weather", form.middle, call) if form.has_name_first else (call, form.middle, "weather")
    text = form.head + "".join(parts) + form.tail
    ids = tokenizer.tokenizer.encode(text.replace("refrain01", "abcdefgh1"), add_special_tokens=False).ids
    for token in ids:
        state.advance(token)
    refused = GrammarState(Grammar(tokenizer, None, None, rules))
    with pytest.raises(ValueError, match="may not follow"):
        for token in tokenizer.tokenizer.encode(text.replace("weather", "wrong"), add_special_tokens=False).ids:
            refused.advance(token)
