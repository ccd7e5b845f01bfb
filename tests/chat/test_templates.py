"""Templates see what transformers shows them, and say why they refuse a conversation."""

import re

import pytest
from awkward_templates import DEEPSEEK, GEMMA, LLAMA31, PLAIN_QWEN3, QWEN3, SMOLLM3
from dialogues import CHATML, ORDINARY, OWN, with_template
from transformers import PreTrainedTokenizerFast

from refrain.chat import encoding, templates, tool_form

FOR_SYSTEMS = "{% if messages[0].role == 'system' %}{{ strftime_now('%d') }}{% endif %}"


def test_a_model_without_template_needs_one(saved, tokenizer):
    with pytest.raises(ValueError, match=r"^/.*: the model has no chat template of its own; .*template=chatml$"):
        encoding.load_tokenizer(saved(tokenizer))


def test_of_several_templates_the_default_is_taken(saved, tokenizer):
    named = [{"name": "tools", "template": "no"}, {"name": "default", "template": OWN}]
    assert encoding.load_tokenizer(saved(tokenizer, chat_template=named)).template == OWN


@pytest.mark.parametrize("has_files", [False, True])
def test_the_template_for_tools_is_taken_where_transformers_takes_it(saved, tokenizer, tmp_path, has_files):
    """Of the settings, or of the files that transformers writes since 4.53."""
    for_tools = "\n {% for tool in tools %}{{ tool.function.name }}\n{% endfor %} " + CHATML + "\n"
    texts = [{"name": "default", "template": CHATML + "\n"}, {"name": "tool_use", "template": for_tools}]
    folder = saved(tokenizer, chat_template=texts)
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    if has_files:
        theirs.save_pretrained(folder := tmp_path / "files")
        assert [path.name for path in (folder / templates.FURTHER_TEMPLATES).iterdir()] == ["tool_use.jinja"]
    talk = encoding.load_tokenizer(folder)
    for tools in (None, [tool_form.TOOL]):
        expected = theirs.apply_chat_template(ORDINARY, tools=tools, tokenize=False, add_generation_prompt=True)
        assert templates.render_template(talk.template, ORDINARY, {}, True, tools) == expected


@pytest.mark.parametrize("named, words", [
    ([{"name": "tool_use", "template": OWN}], r"of the chat templates of the model \(tool_use\) none is the default"),
    ([{"template": OWN}], "neither a text nor texts with names"),
    ([OWN], "neither a text nor texts with names"),
    (5, "neither a text nor texts with names"),
])  # fmt: skip
def test_templates_of_which_none_can_be_chosen_are_refused(saved, tokenizer, named, words):
    with pytest.raises(ValueError, match=rf"^/.*: .*{words}; choose another: template=chatml$"):
        encoding.load_tokenizer(saved(tokenizer, chat_template=named))
    encoding.load_tokenizer(saved(tokenizer, chat_template=named), CHATML)


def test_the_template_given_is_taken_before_the_models_own(saved, tokenizer):
    folder = saved(tokenizer, chat_template=OWN)
    assert encoding.load_tokenizer(folder, CHATML).template == CHATML
    (folder / "chat_template.jinja").write_text("{{ 'é' }}\n", encoding="utf-8")
    assert encoding.load_tokenizer(folder).template == "{{ 'é' }}\n"


def test_generation_tags_change_nothing(saved, tokenizer):
    tagged = CHATML.replace("{{ '<|im_start|>'", "{% generation %}{{ '<|im_start|>'", 1)
    tagged = tagged.replace("{% endfor %}", "{% endgeneration %}{% endfor %}")
    plain, marked = (with_template(saved, tokenizer, jinja) for jinja in (CHATML, tagged))
    assert encoding.encode_conversation(marked, ORDINARY) == encoding.encode_conversation(plain, ORDINARY)


def test_a_template_sees_what_transformers_shows_it(saved, tokenizer):
    curious = """{% if messages %}
    {% set shown = [tools is none, documents is none, bos_token, add_bos_token is defined, add_generation_prompt] %}
{{ shown | tojson }}{{ {'é': 1} | tojson(indent=1) }}
    {% endif %}
"""
    folder = saved(
        tokenizer, bos_token={"__type": "AddedToken", "content": "<|bos|>"}, add_bos_token=True, chat_template=curious
    )
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    expected = theirs.apply_chat_template(ORDINARY, chat_template=curious, tokenize=False, add_generation_prompt=True)
    talk = encoding.load_tokenizer(folder)
    assert (
        templates.render_template(talk.template, ORDINARY, talk.special_tokens, add_generation_prompt=True) == expected
    )


@pytest.mark.parametrize("jinja, reason", [
    ("{{ raise_exception('the first turn must be the user\\'s') }}", "the first turn must be the user's"),
    ("{{ messages.append(1) }}", ".*append.*"),
])  # fmt: skip
def test_a_template_that_refuses_a_conversation_says_why(saved, tokenizer, jinja, reason):
    talk = with_template(saved, tokenizer, jinja)
    with pytest.raises(
        templates.TemplateRefusalError, match=f"^the chat template refuses a conversation of system, user: {reason}$"
    ):
        encoding.encode_prompt(talk, ORDINARY[:2])


def test_a_template_with_a_mistake_is_refused(saved, tokenizer):
    with pytest.raises(ValueError, match=r"^the chat template is not valid Jinja: .*endfor"):
        encoding.encode_prompt(with_template(saved, tokenizer, CHATML.replace("{% endfor %}", "")), ORDINARY[:2])


@pytest.mark.parametrize("jinja", [
    "{% for m in messages %}{{ m.content }}\n{% endfor %}",
    "{% for m in messages %}{{ m.content }}{% if not loop.last %}<|im_end|>{% endif %}{% endfor %}",
])  # fmt: skip
def test_a_template_without_end_marker_is_refused(saved, tokenizer, jinja):
    with pytest.raises(ValueError, match=r"^the chat template puts no end marker after a reply; .*template=chatml$"):
        encoding.encode_conversation(with_template(saved, tokenizer, jinja), ORDINARY)


@pytest.mark.parametrize("jinja, reason", [
    (SMOLLM3, "the chat template asks for the date, which would change the text each day"),
    (FOR_SYSTEMS + CHATML, "the chat template asks for the date, .*"),
    ("{{ now() }}" + CHATML, "the chat template asks for the date, .*"),
    ("{{ ['a', 'b'] | random }}" + CHATML, "the chat template draws by chance, which would change the text each time"),
    ("{{ lipsum() }}" + CHATML, "the chat template draws by chance, .*"),
    ("{{ '' + pad_token }}" + CHATML, "the chat template writes pad_token, which the tokenizer does not name"),
    (DEEPSEEK, r"the chat template asks for a reply with '<think>\\n', where it writes '.* otherwise than asked"),
    ("{% for m in messages %}{{ m.content }}{% endfor %}", "the chat template puts no end marker after a reply"),
    ("{% for m in messages %}{{ m.content | upper }}<|im_end|>{% endfor %}", "the chat template does not write .*"),
    ("{% for m in messages %}{{ m.content[0].text }}<|im_end|>{% endfor %}", "the chat template does not write .*"),
    ("{{ 1 / 0 }}" + CHATML, "the chat template refuses a conversation of user: division by zero"),
    (CHATML.replace("{% endfor %}", ""), "the chat template is not valid Jinja: .*"),
], ids=["date", "date for some", "now", "random", "lipsum", "no pad", "thought", "no end", "other words", "parts",
        "no number", "mistake"])  # fmt: skip
def test_a_template_that_no_row_can_be_learned_with_is_known_without_rows(jinja, reason):
    [sentence] = templates.check_template(jinja, {"bos_token": "<|bos|>"})
    assert re.fullmatch(f"{reason}; choose another: template=chatml", sentence)


@pytest.mark.parametrize("jinja", [CHATML, GEMMA, LLAMA31, QWEN3, PLAIN_QWEN3])
def test_a_template_that_rows_can_be_learned_with_has_no_fault(jinja):
    assert templates.check_template(jinja, {"bos_token": "<|bos|>"}) == []


def test_a_template_that_takes_no_question_and_reply_says_so_in_its_words():
    [sentence] = templates.check_template("{{ raise_exception('tools only') }}", {})
    assert sentence == "the chat template refuses a conversation of user: tools only; choose another: template=chatml"


def test_roles_that_a_template_takes_are_found_by_trying():
    names = {"bos_token": "<|bos|>"}
    assert templates.accepts_roles(GEMMA, names, ["user", "assistant", "user"])
    assert not templates.accepts_roles(GEMMA, names, ["system", "user"])
    assert not templates.accepts_roles(GEMMA, names, ["assistant", "user"])
    silent = CHATML.replace("in messages", "in messages if message['role'] != 'system'")
    assert not templates.accepts_roles(silent, {}, ["system", "user"])
