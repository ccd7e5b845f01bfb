"""Tool calls, results and thoughts are written by the template of the model, and calls are learned as its format."""

import json

import pytest
from dialogues import learned, with_template
from tool_templates import LOOP, TOOL_TEMPLATES, WEATHER, asks, call, calls, gives, says
from transformers import PreTrainedTokenizerFast

from refrain.chat import encoding, tool_form

TYPED = "<|im_end|>"
FORMATS = {  # of one call, as its model is to say it
    "qwen2_5": '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>',
    "qwen3_8": "\n</think>\n\n<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n"
    "</tool_call><|im_end|>",
    "llama3_1": '{"name": "weather", "parameters": {"city": "Oslo"}}<|eot_id|>',
    "llama3_2": '{"name": "weather", "parameters": {"city": "Oslo"}}<|eot_id|>',
    "lfm2_2_5": "<|tool_call_start|>[weather(city='Oslo')]<|tool_call_end|><|im_end|>",
    "mistral": '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo"}, "id": "abcdefgh1"}]<|im_end|>',
    "hermes": '<tool_call>\n{"arguments": {"city": "Oslo"}, "name": "weather"}\n</tool_call><|im_end|>',
}
THOUGHTS = {"qwen3": "<think>\nHm.\n</think>\n\n", "lfm2_2_5": "<think>Hm.</think>", "qwen3_8": "Hm.\n</think>\n\n"}


@pytest.fixture(params=FORMATS)
def name(request):
    return request.param


@pytest.fixture
def talk(saved, tokenizer, name):
    return with_template(saved, tokenizer, TOOL_TEMPLATES[name], bos_token="<|bos|>")


def test_a_call_is_learned_as_the_models_format_and_nothing_of_tools_and_results(talk, name):
    *calling, answer = learned(talk, encoding.encode_conversation(talk, LOOP, [WEATHER]))
    assert calling == [FORMATS[name]]
    assert answer.lstrip("\n</think> ").startswith("It rains.")
    first = learned(talk, encoding.encode_conversation(talk, LOOP[:2], [WEATHER]))
    assert first == calling
    unlearned = [LOOP[0], {**LOOP[1], "train": False}, *LOOP[2:]]
    assert learned(talk, encoding.encode_conversation(talk, unlearned, [WEATHER])) == [answer]


@pytest.mark.parametrize("name", ["qwen2_5", "lfm2_2_5", "mistral", "hermes"], indirect=True)
def test_ids_are_those_of_transformers_and_a_call_is_asked_as_learned(talk):
    theirs = PreTrainedTokenizerFast(tokenizer_object=talk.tokenizer, **talk.special_tokens).apply_chat_template
    for messages in (LOOP[:2], LOOP):
        ids = encoding.encode_conversation(talk, messages, [WEATHER])["input_ids"]
        assert ids == theirs(messages, tools=[WEATHER], chat_template=talk.template)
        asked = encoding.encode_prompt(talk, messages[:-1], [WEATHER])
        prompt = theirs(messages[:-1], tools=[WEATHER], chat_template=talk.template, add_generation_prompt=True)
        assert asked == prompt == ids[: len(asked)]


def test_control_tokens_that_a_call_a_tool_or_a_result_holds_are_text(talk):
    tool = {**WEATHER, "function": {**WEATHER["function"], "description": f"what {TYPED} falls"}}
    typed = [asks(), calls(call(f"Os{TYPED}lo", **{f"a{TYPED}": 1})), gives(f"rain {TYPED}", name="weather"), says()]
    ids, labels = encoding.encode_conversation(talk, typed, [tool]).values()
    plain = encoding.encode_conversation(talk, LOOP, [WEATHER])["input_ids"]
    marker = talk.index.special_ids[TYPED]
    assert ids.count(marker) == plain.count(marker)
    text = talk.tokenizer.decode(ids, skip_special_tokens=False)
    assert all(part in text for part in (f"Os{TYPED}lo", f"rain {TYPED}", f"what {TYPED} falls", f"a{TYPED}"))
    assert f"Os{TYPED}lo" in learned(talk, {"input_ids": ids, "labels": labels})[0]


@pytest.mark.parametrize("name", THOUGHTS, indirect=True)
def test_a_thought_is_learned_before_the_words(talk, name):
    messages = [asks(), says(reasoning_content="Hm.")]
    assert learned(talk, encoding.encode_conversation(talk, messages))[0].startswith(THOUGHTS[name] + "It rains.")
    row = {"id": "row", "messages": messages}
    assert encoding.ask_with_opening(talk, [row]) is talk


@pytest.mark.parametrize("name", ["deepseekv3"], indirect=True)
def test_arguments_are_json_where_the_template_joins_them_as_text(talk):
    assert talk.tool_form.has_json_arguments
    ids = encoding.encode_conversation(talk, [asks(), calls(call("Ö")), gives(), says()])["input_ids"]
    assert '```json\n{"city": "Ö"}\n```' in talk.tokenizer.decode(ids, skip_special_tokens=False)


# What a template does not do without
def forms(name):
    return tool_form.find_form(TOOL_TEMPLATES[name], {"bos_token": "<|bos|>", "eos_token": TYPED})


def test_ids_are_made_where_the_template_wants_nine_signs():
    turns = [
        asks(),
        calls(call(id="call_1"), call("Rome", id="call_2")),
        *(gives(city, id=id) for city, id in (("wet", "call_2"), ("dry", "call_1"))),
        says(),
    ]
    completed = tool_form.complete_calls(forms("mistral"), turns, "row")
    first, second = (each["id"] for each in completed[1]["tool_calls"])
    assert [turn["tool_call_id"] for turn in completed[2:4]] == [second, first]
    assert first != second and all(tool_form.SHORT_ID.fullmatch(id) for id in (first, second))
    assert completed == tool_form.complete_calls(forms("mistral"), turns, "row")
    assert completed != tool_form.complete_calls(forms("mistral"), turns, "other row")
    nameless = json.loads(json.dumps(turns).replace('"id": "call_1"', '"no": 1').replace('"tool_call_id"', '"no"'))
    ids = [turn["tool_call_id"] for turn in tool_form.complete_calls(forms("mistral"), nameless, "row")[2:4]]
    assert ids == [first, second]  # in the order of the calls
    for name in ("qwen2_5", "hermes"):
        assert [turn.get("tool_call_id") for turn in tool_form.complete_calls(forms(name), turns, "row")] == [
            turn.get("tool_call_id") for turn in turns
        ]
    assert tool_form.complete_calls(forms("mistral"), LOOP, "row") is LOOP


def test_results_are_named_where_the_template_wants_their_function():
    completed = tool_form.complete_calls(forms("hermes"), [asks(), calls(), gives(), says()], "row")
    assert completed[2] == gives(name="weather")
