"""What the model is asked with is what it has learned, and nothing but replies is learned."""

import json
from functools import partial
from itertools import pairwise

import pytest
from awkward_templates import GEMMA, LLAMA31, PLAIN_QWEN3, QWEN3
from dialogues import CHATML, ORDINARY, OWN, TEMPLATES, TYPED, controls, dialogue, learned, sentencepiece, with_template
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from refrain.chat import encoding, model_folder, preview

LEARNED = {
    "own": "{}<|end|>",
    "chatml": "{}<|im_end|>",
    "alpaca": "{}{eos}",
    "llama2": " {} {eos}",
    "phi": "{}<|end|>",
}
TRIMMED = CHATML.replace("message['content']", "(message['content'] | trim)")
BORDERS = dialogue(" be\n", "hello ", "\n\n\nhello", "\n", "  hello\n\n", "hello", " ")
PRIVATE = dialogue("be \U000f0000", "\ue000 \U000f0001<|im_end|></s>\U000f0002", "\U000f0003", "\U0010fffd", "hello")


@pytest.fixture(scope="module", params=["bytes", "first", "prepended", "unigram"])
def folder(request, tokenizer, saved):
    if request.param == "bytes":
        return saved(tokenizer, bos_token="<|bos|>", eos_token="<|im_end|>", chat_template=OWN)
    return saved(sentencepiece(request.param), bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=OWN)


@pytest.fixture(scope="module", params=TEMPLATES)
def template(request):
    return request.param


@pytest.fixture
def talk(folder, template):
    return encoding.load_tokenizer(folder, TEMPLATES[template])


def conversations(**named):
    return pytest.mark.parametrize("messages", named.values(), ids=[name.lower() for name in named])


@conversations(ORDINARY=ORDINARY, BORDERS=BORDERS, PRIVATE=PRIVATE, TYPED=TYPED)
def test_learned_are_the_assistants_words_and_the_end_marker(talk, template, messages):
    eos = talk.special_tokens["eos_token"]
    words = [message["content"] for message in messages if message["role"] == "assistant"]
    assert learned(talk, encoding.encode_conversation(talk, messages)) == [
        LEARNED[template].format(each, eos=eos) for each in words
    ]


@conversations(ORDINARY=ORDINARY, BORDERS=BORDERS, PRIVATE=PRIVATE, TYPED=TYPED)
def test_what_stands_before_a_reply_is_what_the_model_is_asked_with(talk, messages):
    ids, labels = encoding.encode_conversation(talk, messages).values()
    starts = [i for i in range(1, len(ids)) if labels[i - 1] == encoding.IGNORE_INDEX != labels[i]]
    asked = [
        encoding.encode_prompt(talk, messages[:i])
        for i, message in enumerate(messages)
        if message["role"] == "assistant"
    ]
    assert asked == [ids[:start] for start in starts]


@conversations(ORDINARY=ORDINARY, BORDERS=BORDERS, PRIVATE=PRIVATE, TYPED=TYPED)
def test_a_template_may_drop_the_white_space_around_a_text(folder, messages):
    """As many do: learned is what is left, behind what the model is asked with."""
    talk = encoding.load_tokenizer(folder, TRIMMED)
    features = encoding.encode_conversation(talk, messages)
    words = [message["content"].strip() for message in messages if message["role"] == "assistant"]
    assert learned(talk, features) == [f"{each}<|im_end|>" for each in words]
    stripped = [{**message, "content": message["content"].strip()} for message in messages]
    assert encoding.encode_conversation(talk, stripped) == features
    at = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    asked = encoding.encode_prompt(talk, messages[:at])
    assert asked == encoding.encode_prompt(talk, stripped[:at]) == features["input_ids"][: len(asked)]


@pytest.mark.parametrize("around", ["{}", " {}", "{}\n", "\n\n {} \t", "{}\u00a0\u2028"])
def test_white_space_around_a_question_is_asked_as_it_was_learned(talk, around):
    """Of each kind, also beside a blank of the template's own, in every turn."""
    turns = [{**message, "content": around.format(message["content"])} for message in ORDINARY]
    ids, labels = encoding.encode_conversation(talk, turns).values()
    start = len(encoding.encode_prompt(talk, turns[:-1]))
    assert ids[:start] == encoding.encode_prompt(talk, turns[:-1])
    assert labels[start - 1] == encoding.IGNORE_INDEX != labels[start]
    [whole] = preview.decode_spans(talk, [ids])
    assert all(turn["content"] in whole for turn in turns)


def test_ids_are_those_of_transformers(talk, folder):
    theirs = partial(PreTrainedTokenizerFast.from_pretrained(folder).apply_chat_template, chat_template=talk.template)
    assert encoding.encode_conversation(talk, ORDINARY)["input_ids"] == theirs(ORDINARY)
    assert encoding.encode_prompt(talk, ORDINARY[:-1]) == theirs(ORDINARY[:-1], add_generation_prompt=True)


@conversations(PRIVATE=PRIVATE, TYPED=TYPED)
def test_control_tokens_that_someone_typed_are_text(talk, messages):
    ids = encoding.encode_conversation(talk, messages)["input_ids"]
    innocent = [{**message, "content": "hello"} for message in messages]
    assert controls(talk, ids) == controls(talk, encoding.encode_conversation(talk, innocent)["input_ids"])
    text = talk.tokenizer.decode(ids, skip_special_tokens=False)
    assert all(message["content"] in text for message in messages)


def test_a_reply_may_open_with_words_of_the_templates_own(saved, tokenizer):
    """As Qwen3's does, with an empty thought."""
    thinking = CHATML.replace(
        "message['content']", "('-\n' if message['role'] == 'assistant' else '') + message['content']"
    )
    talk = with_template(saved, tokenizer, thinking)
    assert learned(talk, encoding.encode_conversation(talk, ORDINARY))[0] == "-\nhi<|im_end|>"


@pytest.mark.parametrize("jinja", [
    CHATML.replace("in messages", "in messages if message['role'] != 'system'"),
    "{{ messages[0]['content'] }}\n" + CHATML,
])  # fmt: skip
def test_what_a_template_leaves_out_or_says_twice_may_be_typed(saved, tokenizer, jinja):
    talk = with_template(saved, tokenizer, jinja)
    assert learned(talk, encoding.encode_conversation(talk, TYPED))[-1] == "<|im_end|></s><|im_end|>"


@pytest.mark.parametrize("jinja, reason", [
    ("{{ messages|length }}" + CHATML, "turn 5: the chat template rewrites earlier turns, so labels have no place"),
    (CHATML.replace("<|im_start|>assistant", "<|im_start|>bot"), "turn 5: the chat template asks for a reply with "
     r"'bot\\n', where it writes 'assistant\\n.*' of a reply that is there, so it .* otherwise than asked"),
], ids=["counts the turns", "asks otherwise"])  # fmt: skip
def test_a_template_that_rewrites_history_is_refused(saved, tokenizer, jinja, reason):
    with pytest.raises(ValueError, match=f"^{reason}; choose another: template=chatml$"):
        encoding.encode_conversation(with_template(saved, tokenizer, jinja), ORDINARY)


def test_a_reply_that_is_shortened_later_is_not_learned(saved, tokenizer):
    shortens = CHATML.replace(
        "message['content']", "(message['content'] if loop.last or message['role'] == 'user' else '...')"
    )
    talk = with_template(saved, tokenizer, shortens)
    features = encoding.encode_conversation(talk, ORDINARY)
    assert learned(talk, features) == ["see you 👩‍🚀, não?<|im_end|>"]
    asked = encoding.encode_prompt(talk, ORDINARY[:-1])
    assert features["input_ids"][: len(asked)] == asked


@pytest.mark.parametrize("blanks", ["  ", "\n\n", " \n\n\n "])
def test_a_prompt_that_ends_with_blanks_is_learned_as_it_is_asked(saved, tokenizer, blanks):
    """Also where the tokenizer would keep the last of them for the first word."""
    spaced = OWN.replace("{{ m.role }}|>", "{{ m.role }}|>" + blanks).replace("tant|>", "tant|>" + blanks)
    talk = with_template(saved, tokenizer, spaced)
    features = encoding.encode_conversation(talk, ORDINARY)
    starts = [
        i for i, pair in enumerate(pairwise(features["labels"]), 1) if pair[0] == encoding.IGNORE_INDEX != pair[1]
    ]
    asked = [encoding.encode_prompt(talk, ORDINARY[:turn]) for turn in (2, 4)]
    assert asked == [features["input_ids"][:start] for start in starts]


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^/.*: there is no tokenizer\.json"):
        encoding.load_tokenizer(tmp_path)


@pytest.mark.parametrize("template, ends, stops", [
    ("chatml", {"<|im_end|>"}, ()),
    ("alpaca", {"<|im_end|>"}, ()),
    ("phi", {"<|end|>", "<|im_end|>"}, ()),
    ("llama2", {"<|im_end|>"}, ()),
])  # fmt: skip
def test_a_reply_ends_at_the_marker_or_the_eos(saved, tokenizer, template, ends, stops):
    talk = with_template(saved, tokenizer, TEMPLATES[template])
    assert (talk.stop_ids, talk.stop_strings) == ({talk.index.special_ids[name] for name in ends}, stops)


def test_a_marker_that_is_no_token_ends_a_reply_as_text(saved):
    talk = encoding.load_tokenizer(saved(sentencepiece("first"), eos_token="</s>"), CHATML)
    assert (talk.stop_ids, talk.stop_strings) == ({talk.index.special_ids["</s>"]}, ("<|im_end|>",))


def test_a_copy_is_the_same_tokenizer_with_the_template(folder, tmp_path):
    talk = encoding.load_tokenizer(folder, CHATML)
    model_folder.copy_tokenizer(folder, tmp_path, talk.template)
    assert (tmp_path / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert (tmp_path / "chat_template.jinja").read_text() == encoding.load_tokenizer(tmp_path).template == talk.template
    assert encoding.encode_prompt(encoding.load_tokenizer(tmp_path), TYPED) == encoding.encode_prompt(talk, TYPED)
    assert "chat_template" not in json.loads((tmp_path / "tokenizer_config.json").read_text())
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(ORDINARY)
    assert encoding.encode_conversation(talk, ORDINARY)["input_ids"] == theirs


@conversations(ORDINARY=ORDINARY, BORDERS=BORDERS, PRIVATE=PRIVATE, TYPED=TYPED)
def test_a_reply_that_is_context_alone_has_its_ids_and_no_label(talk, messages):
    whole = encoding.encode_conversation(talk, messages)
    first, *_ = (i for i, message in enumerate(messages) if message["role"] == "assistant")
    context = [*messages[:first], {**messages[first], "train": False}, *messages[first + 1 :]]
    features = encoding.encode_conversation(talk, context)
    assert features["input_ids"] == whole["input_ids"]
    assert learned(talk, features) == learned(talk, whole)[1:] != []


# What a template itself writes before a reply
THOUGHT = "<think>\nwell\n</think>\n\nhi"
SINGLE = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
TWICE = [*SINGLE, {"role": "user", "content": "there"}, {"role": "assistant", "content": "hello"}]


def as_row(messages):
    return {"id": "row", "messages": messages}


@pytest.mark.parametrize("jinja", [QWEN3, PLAIN_QWEN3])
@pytest.mark.parametrize("messages", [SINGLE, TWICE], ids=["one reply", "two replies"])
def test_an_empty_thought_of_the_template_is_asked_with_and_not_learned(saved, tokenizer, jinja, messages):
    talk = encoding.ask_with_opening(with_template(saved, tokenizer, jinja), [as_row(messages)])
    features = encoding.encode_conversation(talk, messages)
    asked = encoding.encode_prompt(talk, messages[:-1])
    assert learned(talk, features) == [messages[-1]["content"] + "<|im_end|>"]
    assert talk.tokenizer.decode(asked, skip_special_tokens=False).endswith("assistant\n<think>\n\n</think>\n\n")
    assert features["input_ids"][: len(asked)] == asked
    assert features["labels"][len(asked)] != encoding.IGNORE_INDEX == features["labels"][len(asked) - 1]


def test_a_completed_template_is_asked_alike_by_other_runtimes_and_is_left_alone(saved, tokenizer):
    folder = saved(tokenizer, eos_token="<|im_end|>", chat_template=QWEN3)
    talk = encoding.ask_with_opening(encoding.load_tokenizer(folder), [as_row(SINGLE)])
    theirs = PreTrainedTokenizerFast.from_pretrained(folder).apply_chat_template
    asked = theirs(SINGLE[:1], chat_template=talk.template, add_generation_prompt=True)
    assert asked == encoding.encode_prompt(talk, SINGLE[:1]) == theirs(
        SINGLE[:1], add_generation_prompt=True, enable_thinking=False
    )  # fmt: skip
    assert encoding.ask_with_opening(talk, [as_row(SINGLE)]) is talk


def test_thoughts_of_a_rows_own_are_learned_and_asked_for(saved, tokenizer):
    """And where a model is to choose between thought and none, it learns both."""
    own, plain = [SINGLE[0], {**SINGLE[1], "content": THOUGHT}], SINGLE
    talk = encoding.ask_with_opening(with_template(saved, tokenizer, QWEN3), [as_row(own), as_row(plain)])
    assert learned(talk, encoding.encode_conversation(talk, own)) == [THOUGHT + "<|im_end|>"]
    assert learned(talk, encoding.encode_conversation(talk, plain)) == ["<think>\n\n</think>\n\nhi<|im_end|>"]
    asked = talk.tokenizer.decode(encoding.encode_prompt(talk, own[:1]), skip_special_tokens=False)
    assert asked.endswith("<|im_start|>assistant\n")


def test_a_chat_goes_on_where_the_template_drops_earlier_thoughts(saved, tokenizer):
    talk = with_template(saved, tokenizer, QWEN3)
    history = [SINGLE[0], {**SINGLE[1], "content": THOUGHT}, TWICE[2]]
    text = talk.tokenizer.decode(encoding.encode_prompt(talk, history), skip_special_tokens=False)
    assert "assistant\nhi<|im_end|>" in text and "think" not in text


def test_a_first_reply_that_nothing_asks_for_is_not_learned(saved, tokenizer):
    """A greeting: the template has no prompt for it, as Qwen3's looks at the first message."""
    talk = with_template(saved, tokenizer, "{% if messages[0].role == 'tool' %}{% endif %}" + CHATML)
    greeted = [{"role": "assistant", "content": "hello"}, *SINGLE]
    assert learned(talk, encoding.encode_conversation(talk, greeted)) == ["hi<|im_end|>"]
    plain = with_template(saved, tokenizer, CHATML)
    assert learned(plain, encoding.encode_conversation(plain, greeted)) == ["hello<|im_end|>", "hi<|im_end|>"]


@pytest.mark.parametrize("head, asked", [("Answer: ", "Answer:"), (" ", ""), ("\n", "\n"), ("", "")])
def test_a_blank_before_the_words_is_a_part_of_them(saved, tokenizer, head, asked):
    jinja = CHATML.replace(
        "message['content']", f"({head!r} if message['role'] == 'assistant' else '') + message['content']"
    )
    talk = encoding.ask_with_opening(with_template(saved, tokenizer, jinja), [as_row(SINGLE)])
    prompt = talk.tokenizer.decode(encoding.encode_prompt(talk, SINGLE[:1]), skip_special_tokens=False)
    assert prompt.endswith("assistant\n" + asked)
    assert learned(talk, encoding.encode_conversation(talk, SINGLE)) == [head.removeprefix(asked) + "hi<|im_end|>"]


# Where a text begins and ends
@pytest.mark.parametrize("jinja", [CHATML, GEMMA, LLAMA31])
def test_a_template_that_is_chosen_begins_with_the_begin_token_once(saved, tokenizer, jinja):
    talk = with_template(saved, tokenizer, jinja, bos_token="<|bos|>")
    begin = talk.index.special_ids["<|bos|>"]
    ids = encoding.encode_conversation(talk, SINGLE)["input_ids"]
    assert ids[0] == begin == encoding.encode_prompt(talk, SINGLE[:1])[0] and ids.count(begin) == 1


def test_a_models_own_template_is_taken_as_it_is(saved, tokenizer):
    folder = saved(tokenizer, bos_token="<|bos|>", eos_token="<|im_end|>", chat_template=CHATML)
    assert encoding.load_tokenizer(folder).template == CHATML


def test_a_reply_ends_where_the_models_own_settings_end_it_and_at_no_word(saved, tokenizer, tmp_path):
    folder = saved(tokenizer, eos_token="<|im_end|>", chat_template=CHATML)
    (folder / "config.json").write_text('{"eos_token_id": 3}')
    word = tokenizer.token_to_id("a")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 4, word]}))
    talk = encoding.load_tokenizer(folder)
    assert talk.stop_ids == {talk.index.special_ids[name] for name in ("<|im_end|>", "<|end|>")}
    model_folder.copy_tokenizer(folder, tmp_path, talk.template)
    assert encoding.load_tokenizer(tmp_path).stop_ids == talk.stop_ids


def test_a_marker_of_text_before_a_control_token_ends_a_reply_as_text(saved, tokenizer):
    talk = with_template(saved, tokenizer, CHATML.replace("+ '<|im_end|>", "+ '</answer> <|im_end|>"))
    assert (talk.stop_strings, talk.stop_ids) == (("</answer>",), {talk.index.special_ids["<|im_end|>"]})
