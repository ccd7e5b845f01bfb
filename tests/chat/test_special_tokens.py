"""Which token begins, ends and fills a text: every file that may say so, and what transformers takes."""

import json

import pytest
from dialogues import CHATML, sentencepiece
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from refrain.chat import encoding, special_tokens

ADDED = {"0": {"content": "<|bos|>", "special": True}, "2": {"content": "<|im_end|>", "special": True}}


def write(folder, name, **values):
    (folder / name).write_text(json.dumps(values))


@pytest.mark.parametrize("settings", [
    {"eos_token": "<|im_end|>"},
    {"eos_token": "<|im_end|>", "added_tokens_decoder": ADDED},
    {"eos_token": {"__type": "AddedToken", "content": "<|im_end|>"}, "added_tokens_decoder": ADDED},
], ids=["old", "new", "as a dictionary"])  # fmt: skip
def test_of_two_names_that_wins_which_transformers_takes(saved, tokenizer, settings):
    folder = saved(tokenizer, **settings)
    write(folder, "special_tokens_map.json", eos_token={"content": "<|end|>"})
    theirs = AutoTokenizer.from_pretrained(folder).eos_token
    assert special_tokens.read_special_tokens(folder)["eos_token"] == theirs
    explained = special_tokens.explain_tokens(folder)["eos_token"]
    assert explained["token"] == theirs and {explained["token"], *explained.values()} >= {"<|end|>", "<|im_end|>"}


def test_a_token_that_the_settings_call_special_is_a_control_token(saved, tokenizer):
    raw = Tokenizer.from_str(tokenizer.to_str().replace('"special":true', '"special":false'))
    folder = saved(raw, eos_token="<|bos|>", added_tokens_decoder=ADDED)
    found = special_tokens.read_tokenizer(folder).get_added_tokens_decoder()
    theirs = AutoTokenizer.from_pretrained(folder).added_tokens_decoder
    assert found[2].special and {token: found[token].special for token in found} == {
        token: theirs[token].special for token in theirs
    }


def test_a_name_in_the_old_map_alone_is_found(saved, tokenizer):
    folder = saved(tokenizer, added_tokens_decoder=ADDED)
    write(folder, "special_tokens_map.json", eos_token="<|end|>")
    talk = encoding.load_tokenizer(folder, CHATML)
    assert talk.special_tokens == {"eos_token": "<|end|>"}
    assert talk.stop_ids == {talk.index.special_ids[name] for name in ("<|im_end|>", "<|end|>")}
    assert special_tokens.explain_tokens(folder) == {
        "eos_token": {"token": "<|end|>", "from": "special_tokens_map.json"}
    }


def test_a_folder_needs_no_settings_of_its_tokenizer(saved, tokenizer):
    folder = saved(tokenizer)
    (folder / "tokenizer_config.json").unlink()
    assert encoding.load_tokenizer(folder, CHATML).special_tokens == {}


def test_extra_tokens_have_the_names_that_templates_use(saved, tokenizer):
    folder = saved(tokenizer, extra_special_tokens={"boi_token": "<|end|>"}, image_token="<|im_start|>")
    assert special_tokens.read_special_tokens(folder) == {"boi_token": "<|end|>", "image_token": "<|im_start|>"}
    write(folder, "tokenizer_config.json", extra_special_tokens=["<|end|>"])
    assert special_tokens.read_special_tokens(folder) == {}


@pytest.mark.parametrize("role", ["eos_token", "bos_token"])
def test_a_token_that_the_vocabulary_does_not_have_is_refused(saved, tokenizer, role):
    folder = saved(tokenizer, **{role: "</s>"})
    with pytest.raises(ValueError, match=rf"^/.*: tokenizer_config\.json names '</s>' as its {role}, which the voc"):
        encoding.load_tokenizer(folder, CHATML)


@pytest.mark.parametrize("role, value", [("pad_token", 2), ("unk_token", False), ("eos_token", {"id": 2})])
def test_a_name_that_is_no_text_is_refused_as_transformers_refuses_it(saved, tokenizer, role, value):
    folder = saved(tokenizer, **{role: value})
    with pytest.raises(ValueError, match=f"tokenizer_config.json has .* as its {role}, which is not the text"):
        special_tokens.read_special_tokens(folder)
    with pytest.raises((TypeError, AttributeError)):
        AutoTokenizer.from_pretrained(folder)


def test_an_end_token_that_is_only_a_word_of_the_vocabulary_is_a_control_token(saved):
    raw = sentencepiece("first")
    folder = saved(raw, eos_token="▁hello")
    talk = encoding.load_tokenizer(folder, CHATML)
    assert talk.stop_ids == {raw.token_to_id("▁hello")}


@pytest.mark.parametrize("settings, adds", [
    ({}, True), ({"add_bos_token": False}, True), ({"bos_token": None}, False),
    ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": False}, False),
    ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}, True),
])  # fmt: skip
def test_a_begin_token_is_put_before_a_text_where_transformers_does(saved, tokenizer, settings, adds):
    folder = saved(tokenizer, **{"bos_token": "<|bos|>", "eos_token": "<|im_end|>", **settings})
    assert special_tokens.adds_begin_token(folder, tokenizer) == adds
    if settings.get("bos_token", "") is not None:
        assert (AutoTokenizer.from_pretrained(folder)("a")["input_ids"][0] == 0) == adds


def test_generation_stops_where_its_settings_say(saved, tokenizer):
    folder = saved(tokenizer)
    assert special_tokens.read_stop_ids(folder) == (frozenset(), "generation_config.json")
    write(folder, "config.json", eos_token_id=2)
    assert special_tokens.read_stop_ids(folder) == ({2}, "config.json")
    write(folder, "generation_config.json", eos_token_id=[4, 2])
    assert special_tokens.read_stop_ids(folder) == ({2, 4}, "generation_config.json")
