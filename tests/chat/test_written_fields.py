"""What a template does not write is known before a row is learned, and named."""

import re

import pytest
from dialogues import with_template
from tool_templates import LOOP, TOOL_TEMPLATES, WEATHER, asks, call, calls, gives, says

from refrain.chat.written_fields import TemplateFields

ALL = {"tools", "tool_calls", "role tool", "reasoning_content"}
WRITTEN = {
    "qwen2_5": ALL - {"reasoning_content"},
    "qwen3": ALL,
    "qwen3_8": ALL,
    "llama3_1": ALL - {"reasoning_content"},
    "lfm2_2_5": ALL,
    "deepseekv3": {"tool_calls", "role tool"},
    "mistral": ALL - {"reasoning_content"},
    "hermes": ALL - {"reasoning_content"},
    "chatml": {"role tool"},  # any role by its name
    "gemma": set(),
    "alpaca": set(),  # a result would be written as a reply
}


@pytest.fixture
def written(saved, tokenizer):
    return lambda name: TemplateFields(with_template(saved, tokenizer, TOOL_TEMPLATES[name], bos_token="<|bos|>"))


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_template_writes_is_found_by_trying(written, name):
    assert written(name).written == WRITTEN[name]


TWO = [asks(), calls(call(), call("Rome", id="abcdefgh2")), gives(), gives(id="abcdefgh2"), says()]
WORDS = [asks(), calls(content="Let me see."), gives(), says()]


@pytest.mark.parametrize("name, messages, tools, fault", [
    *((name, LOOP, True, None) for name in ("qwen2_5", "qwen3", "llama3_1", "mistral", "hermes", "lfm2_2_5")),
    *((name, TWO, True, None) for name in ("qwen2_5", "mistral")),
    *((name, WORDS, True, None) for name in ("qwen2_5", "qwen3")),
    ("deepseekv3", LOOP, False, None),
    ("chatml", [asks(), says("call"), gives(), says()], False, None),
    ("llama3_1", TWO, True, "the chat template refuses a conversation of .*: This model only supports single tool-.*"),
    ("llama3_1", WORDS, True, "the chat template leaves out the content of turn 2, beside its tool_calls"),
    ("mistral", WORDS, True, "the chat template leaves out the content of turn 2, beside its tool_calls"),
    ("deepseekv3", LOOP, True, "the row has tools, which the chat template does not write"),
    ("chatml", LOOP, False, "turn 2 has tool_calls, which .*"),
    ("chatml", LOOP[:1] + LOOP[-1:], True, "the row has tools, which .*"),
    ("gemma", [asks(), says("call"), gives(), says()], False, "turn 3 has role tool, which .*"),
    ("alpaca", [asks(), says("call"), gives(), says()], False, "turn 3 has role tool, which .*"),
    ("qwen2_5", [asks(), says(reasoning_content="Hm.")], False, "turn 2 has reasoning_content, which .*"),
    ("qwen3", [asks(), says(reasoning_content="Hm."), asks(), says(reasoning_content="So.")], False, None),
])  # fmt: skip
def test_why_a_row_cannot_be_learned_is_said(written, name, messages, tools, fault):
    found = written(name).find_fault(messages, [WEATHER] if tools else None)
    assert (found is None) if fault is None else re.fullmatch(fault, found.message)
    assert found is None or found.is_refusal == found.message.startswith("the chat template refuses")
