import json
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from refrain import chat

OWN = (
    "<|bos|>{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEMPLATES = {path.stem: OmegaConf.load(path).jinja for path in sorted(Path("conf/template").glob("*.yaml"))}
LEARNED = {
    "own": "{}<|end|>",
    "chatml": "{}<|im_end|>",
    "alpaca": "{}{eos}",
    "llama2": " {} {eos}",
    "phi": "{}<|end|>",
}


def dialogue(*turns):
    """A conversation that begins with a system turn."""
    roles = ["system", *["user", "assistant"] * len(turns)]
    return [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]


ORDINARY = dialogue("Be kind 🙂", "héllo there", "hi", "", "see you 👩‍🚀, não?")
BORDERS = dialogue(" be\n", "hello ", "\n\n\nhello", "\n", "  hello\n\n", "hello", " ")
PRIVATE = dialogue("be \U000f0000", "\ue000 \U000f0001<|im_end|></s>\U000f0002", "\U000f0003", "\U0010fffd", "hello")
TYPED = dialogue(
    "say <|im_end|></s>",
    "a<|im_start|>b<s>c <|im_end|><|im_end|></s></s> <|im_<|im_end|>end|>",
    "it is <|im_end|> or </s>hello",
    "<|end|><unk>",
    "<|im_end|></s>",
)


def sentencepiece(kind):
    """What tokenizer.json holds of a SentencePiece model: pieces with a blank before, bytes for anything else."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words = ["▁hello", "▁there", "assistant", "▁the", "▁▁▁▁"]
    pieces = [word[:i] for word in words for i in range(2, len(word) + 1)]
    letters = sorted(set("▁ <>/|_[]#:.,?abcdefghijklmnopqrstuvwxyzINST"))
    vocabulary = list(dict.fromkeys([*special, *letters, *pieces]))
    if kind == "unigram":
        raw = Tokenizer(models.Unigram([(piece, -float(i > 2)) for i, piece in enumerate(vocabulary)], 0, True))
    else:
        merges = [(piece[:-1], piece[-1]) for piece in dict.fromkeys(pieces)]
        numbered = {piece: i for i, piece in enumerate(vocabulary)}
        raw = Tokenizer(models.BPE(numbered, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if kind == "prepended":
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in special[:3]])
    return raw


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
    return chat.load(folder, TEMPLATES[template])


def learned(talk, features):
    """The text of each stretch of labels."""
    ids, text, at = features["input_ids"], [], 0
    for kept, stretch in groupby(features["labels"], lambda label: label != chat.IGNORE):
        before, at = at, at + len(list(stretch))
        if kept:
            whole, half = (talk.tokenizer.decode(ids[:end], skip_special_tokens=False) for end in (at, before))
            assert whole.startswith(half)
            text.append(whole.removeprefix(half))
    return text


def controls(talk, ids):
    return [token for token in ids if token in talk.special.values()]


def conversations(**named):
    return pytest.mark.parametrize("messages", named.values(), ids=[name.lower() for name in named])


@conversations(ORDINARY=ORDINARY, BORDERS=BORDERS, PRIVATE=PRIVATE, TYPED=TYPED)
def test_learned_are_the_assistants_words_and_the_end_marker(talk, template, messages):
    eos = talk.tokens["eos_token"]
    words = [message["content"] for message in messages if message["role"] == "assistant"]
    assert learned(talk, chat.features(talk, messages)) == [LEARNED[template].format(each, eos=eos) for each in words]


@conversations(ORDINARY=ORDINARY, BORDERS=BORDERS, PRIVATE=PRIVATE, TYPED=TYPED)
def test_what_stands_before_a_reply_is_what_the_model_is_asked_with(talk, messages):
    ids, labels = chat.features(talk, messages).values()
    starts = [i for i in range(1, len(ids)) if labels[i - 1] == chat.IGNORE != labels[i]]
    asked = [chat.prompt(talk, messages[:i]) for i, message in enumerate(messages) if message["role"] == "assistant"]
    assert asked == [ids[:start] for start in starts]


def test_ids_are_those_of_transformers(talk, folder):
    theirs = partial(PreTrainedTokenizerFast.from_pretrained(folder).apply_chat_template, chat_template=talk.template)
    assert chat.features(talk, ORDINARY)["input_ids"] == theirs(ORDINARY)
    assert chat.prompt(talk, ORDINARY[:-1]) == theirs(ORDINARY[:-1], add_generation_prompt=True)


@conversations(PRIVATE=PRIVATE, TYPED=TYPED)
def test_control_tokens_that_someone_typed_are_text(talk, messages):
    ids = chat.features(talk, messages)["input_ids"]
    innocent = [{**message, "content": "hello"} for message in messages]
    assert controls(talk, ids) == controls(talk, chat.features(talk, innocent)["input_ids"])
    text = talk.tokenizer.decode(ids, skip_special_tokens=False)
    assert all(message["content"] in text for message in messages)


@pytest.mark.parametrize("kind", ["first", "prepended"])
def test_control_tokens_may_swallow_the_blanks_beside_them(saved, kind):
    """As Phi-3's do: the line break after a marker is part of the marker."""
    raw = sentencepiece(kind)
    swallowing = [AddedToken(f"<|{name}|>", lstrip=True, rstrip=True, normalized=False) for name in ("end", "user")]
    raw.add_special_tokens([*swallowing, AddedToken("<|assistant|>", rstrip=True, normalized=False)])
    folder = saved(raw, eos_token="</s>")
    talk = chat.load(folder, TEMPLATES["phi"])
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    features = chat.features(talk, ORDINARY)
    assert features["input_ids"] == theirs.apply_chat_template(ORDINARY, chat_template=talk.template)
    typed = dialogue("", "hello  <|user|>  there", "no <|end|> yet \n", "\n<|user|>\n", "\n\nhello")
    features = chat.features(talk, typed)
    assert [text.lstrip() for text in learned(talk, features)] == ["no <|end|> yet<|end|>", "hello<|end|>"]
    assert "hello  <|user|>  there<|end|>" in talk.tokenizer.decode(features["input_ids"], skip_special_tokens=False)
    assert features["input_ids"].count(talk.special["<|user|>"]) == 2


def test_control_tokens_may_overlap_and_be_a_single_character(saved):
    raw = sentencepiece("first")
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in ("s>?", "¤")])
    talk = chat.load(saved(raw, eos_token="</s>"), TEMPLATES["alpaca"])
    features = chat.features(talk, dialogue("", "", "a¤", "<s>?", "a"))
    assert controls(talk, features["input_ids"]) == [talk.special["</s>"]] * 2
    assert learned(talk, features) == ["a¤</s>", "a</s>"]


CHATML = TEMPLATES["chatml"]


def with_template(saved, tokenizer, jinja, **settings):
    return chat.load(saved(tokenizer, eos_token="<|im_end|>", **settings), jinja)


def test_a_reply_may_open_with_words_of_the_templates_own(saved, tokenizer):
    """As Qwen3's does, with an empty thought."""
    thinking = CHATML.replace(
        "message['content']", "('-\n' if message['role'] == 'assistant' else '') + message['content']"
    )
    talk = with_template(saved, tokenizer, thinking)
    assert learned(talk, chat.features(talk, ORDINARY))[0] == "-\nhi<|im_end|>"


@pytest.mark.parametrize("jinja", [
    CHATML.replace("in messages", "in messages if message['role'] != 'system'"),
    "{{ messages[0]['content'] }}\n" + CHATML,
])  # fmt: skip
def test_what_a_template_leaves_out_or_says_twice_may_be_typed(saved, tokenizer, jinja):
    talk = with_template(saved, tokenizer, jinja)
    assert learned(talk, chat.features(talk, TYPED))[-1] == "<|im_end|></s><|im_end|>"


@pytest.mark.parametrize("jinja", [
    "{{ messages|length }}" + CHATML,
    CHATML.replace("message['content']", "(message['content'] if loop.last or message['role'] == 'user' else '...')"),
    CHATML.replace("<|im_start|>assistant", "<|im_start|>bot"),
], ids=["counts the turns", "shortens earlier turns", "asks otherwise"])  # fmt: skip
def test_a_template_that_rewrites_history_is_refused(saved, tokenizer, jinja):
    with pytest.raises(ValueError, match=r"^turn 3: the chat template rewrites earlier turns, .*template=chatml$"):
        chat.features(with_template(saved, tokenizer, jinja), ORDINARY)


def test_a_prompt_that_would_be_cut_otherwise_than_it_was_learned_is_refused(saved, tokenizer):
    talk = with_template(
        saved, tokenizer, OWN.replace("{{ m.role }}|>", "{{ m.role }}|>  ").replace("tant|>", "tant|>  ")
    )
    with pytest.raises(ValueError, match=r"^the ids before the last reply differ from those the model is asked with$"):
        chat.features(talk, ORDINARY)


@pytest.mark.parametrize("jinja", [
    "{% for m in messages %}{{ m.content }}\n{% endfor %}",
    "{% for m in messages %}{{ m.content }}{% if not loop.last %}<|im_end|>{% endif %}{% endfor %}",
])  # fmt: skip
def test_a_template_without_end_marker_is_refused(saved, tokenizer, jinja):
    with pytest.raises(ValueError, match=r"^the chat template puts no end marker after a reply; .*template=chatml$"):
        chat.features(with_template(saved, tokenizer, jinja), ORDINARY)


def test_a_model_without_template_needs_one(saved, tokenizer):
    with pytest.raises(ValueError, match=r"^/.*: the model has no chat template of its own; .*template=chatml$"):
        chat.load(saved(tokenizer))


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^/.*: there is no tokenizer\.json"):
        chat.load(tmp_path)


def test_of_several_templates_the_default_is_taken(saved, tokenizer):
    named = [{"name": "tools", "template": "no"}, {"name": "default", "template": OWN}]
    assert chat.load(saved(tokenizer, chat_template=named)).template == OWN


def test_the_template_given_is_taken_before_the_models_own(saved, tokenizer):
    folder = saved(tokenizer, chat_template=OWN)
    assert chat.load(folder, CHATML).template == CHATML
    (folder / "chat_template.jinja").write_text("{{ 'é' }}\n", encoding="utf-8")
    assert chat.load(folder).template == "{{ 'é' }}\n"


def test_generation_tags_change_nothing(saved, tokenizer):
    tagged = CHATML.replace("{{ '<|im_start|>'", "{% generation %}{{ '<|im_start|>'", 1)
    tagged = tagged.replace("{% endfor %}", "{% endgeneration %}{% endfor %}")
    plain, marked = (with_template(saved, tokenizer, jinja) for jinja in (CHATML, tagged))
    assert chat.features(marked, ORDINARY) == chat.features(plain, ORDINARY)


def test_a_template_sees_what_transformers_shows_it(saved, tokenizer):
    curious = """{% if messages %}
    {% set shown = [tools is none, documents is none, bos_token, add_bos_token is defined, add_generation_prompt] %}
{{ shown | tojson }}{{ {'é': 1} | tojson(indent=1) }}
    {% endif %}
"""
    folder = saved(tokenizer, bos_token={"__type": "AddedToken", "content": "<|bos|>"}, add_bos_token=True)
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    expected = theirs.apply_chat_template(ORDINARY, chat_template=curious, tokenize=False, add_generation_prompt=True)
    assert chat.render(chat.load(folder, curious), ORDINARY, reply=True) == expected


@pytest.mark.parametrize("jinja, reason", [
    ("{{ raise_exception('the first turn must be the user\\'s') }}", "the first turn must be the user's"),
    ("{{ strftime_now('%d %b %Y') }}", "'strftime_now' is undefined"),
    ("{{ '' + pad_token }}", "'pad_token' is undefined"),
    ("{{ messages.append(1) }}", ".*append.*"),
])  # fmt: skip
def test_a_template_that_refuses_a_conversation_says_why(saved, tokenizer, jinja, reason):
    talk = with_template(saved, tokenizer, jinja)
    with pytest.raises(ValueError, match=f"^the chat template refuses a conversation of system, user: {reason}$"):
        chat.prompt(talk, ORDINARY[:2])


def test_a_template_with_a_mistake_is_refused(saved, tokenizer):
    with pytest.raises(ValueError, match=r"^the chat template is not valid Jinja: .*endfor"):
        chat.prompt(with_template(saved, tokenizer, CHATML.replace("{% endfor %}", "")), ORDINARY[:2])


@pytest.mark.parametrize("template, ends, stops", [
    ("chatml", {"<|im_end|>"}, ()),
    ("alpaca", {"<|im_end|>"}, ()),
    ("phi", {"<|end|>", "<|im_end|>"}, ()),
    ("llama2", {"<|im_end|>"}, ()),
])  # fmt: skip
def test_a_reply_ends_at_the_marker_or_the_eos(saved, tokenizer, template, ends, stops):
    talk = with_template(saved, tokenizer, TEMPLATES[template])
    assert (talk.ends, talk.stops) == ({talk.special[name] for name in ends}, stops)


def test_a_marker_that_is_no_token_ends_a_reply_as_text(saved):
    talk = chat.load(saved(sentencepiece("first"), eos_token="</s>"), CHATML)
    assert (talk.ends, talk.stops) == ({talk.special["</s>"]}, ("<|im_end|>",))


def test_a_copy_is_the_same_tokenizer_with_the_template(folder, tmp_path):
    talk = chat.load(folder, CHATML)
    chat.copy(folder, tmp_path, CHATML)
    assert (tmp_path / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert (tmp_path / "chat_template.jinja").read_text() == chat.load(tmp_path).template == CHATML
    assert chat.prompt(chat.load(tmp_path), TYPED) == chat.prompt(talk, TYPED)
    assert "chat_template" not in json.loads((tmp_path / "tokenizer_config.json").read_text())
    theirs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(ORDINARY)
    assert chat.features(talk, ORDINARY)["input_ids"] == theirs
