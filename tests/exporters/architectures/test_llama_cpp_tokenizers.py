"""llama.cpp's name for the way in which a tokenizer cuts text is told by its structure, or it is refused."""

import pytest
import traced_model
from tokenizers import Tokenizer, models, pre_tokenizers

from refrain.exporters.architectures import llama_cpp_tokenizers

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
UNCUT = BYTES | {"use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
WORDS = llama_cpp_tokenizers.WORDS
BLANKS = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Prepend", "prepend": "▁"}


def split(regex, **settings):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", **settings}


def tokenizer_of(*steps, normalizer=None, **model):
    pre = {"type": "Sequence", "pretokenizers": [*steps]} if len(steps) != 1 else steps[0]
    return {"model": {"type": "BPE", **model}, "normalizer": normalizer, "pre_tokenizer": pre if steps else None}


NAMED = {
    "gpt-2": tokenizer_of(BYTES),
    "smollm": tokenizer_of(DIGITS, BYTES),
    "dbrx": tokenizer_of(split(WORDS), UNCUT),
    "llama-bpe": tokenizer_of(split(WORDS), UNCUT, ignore_merges=True),
    "qwen2": tokenizer_of(split(WORDS.replace(r"\p{N}{1,3}", r"\p{N}")), UNCUT, normalizer={"type": "NFC"}),
}
NAMELESS = {
    "blanks alone": tokenizer_of({"type": "Whitespace"}),
    "a blank before a text": tokenizer_of(BYTES | {"add_prefix_space": True}),
    "another pattern": tokenizer_of(split(r"\p{N}{1,3}| ?x"), UNCUT),
    "cut twice": tokenizer_of(split(WORDS), BYTES),
    "cut at a pattern and left out": tokenizer_of(split(WORDS, behavior="Removed"), UNCUT),
    "several digits": tokenizer_of(DIGITS | {"individual_digits": False}, BYTES),
    "merges ignored by words of GPT-2": tokenizer_of(BYTES, ignore_merges=True),
    "lower case": tokenizer_of(BYTES, normalizer={"type": "Lowercase"}),
    "nothing": tokenizer_of(),
    "another model": tokenizer_of(BYTES) | {"model": {"type": "Unigram"}},
}


@pytest.mark.parametrize("name", NAMED)
def test_a_way_to_cut_has_its_name(name):
    assert llama_cpp_tokenizers.name_pre_tokenizer(NAMED[name]) == name


@pytest.mark.parametrize("settings", NAMELESS.values(), ids=NAMELESS)
def test_a_way_that_llama_cpp_does_not_have_is_refused(settings):
    with pytest.raises(ValueError, match=r"^tokenizer.json: (llama.cpp has no name|GGUF is written for BPE)"):
        llama_cpp_tokenizers.name_pre_tokenizer(settings)


@pytest.mark.parametrize(
    ("normalizer", "pre", "adds"),
    [
        (BLANKS, None, False),
        (BLANKS, {"type": "Split", "pattern": {"String": " "}}, False),
        ({"type": "Sequence", "normalizers": [PREPEND, BLANKS]}, None, True),
        (None, {"type": "Metaspace", "prepend_scheme": "first", "split": False}, False),
        (None, {"type": "Metaspace", "prepend_scheme": "always", "split": False}, True),
        ({"type": "Sequence", "normalizers": [BLANKS, PREPEND]}, None, None),
        (BLANKS | {"content": "_"}, None, None),
        (None, {"type": "Metaspace", "prepend_scheme": "never", "split": True}, None),
        (BLANKS, BYTES, None),
    ],
)
def test_sentencepiece_puts_a_blank_before_a_text_or_not(normalizer, pre, adds):
    settings = {"model": {"type": "BPE", "byte_fallback": True}, "normalizer": normalizer, "pre_tokenizer": pre}
    assert llama_cpp_tokenizers.is_sentencepiece(settings)
    if adds is None:
        with pytest.raises(ValueError, match=r"^tokenizer.json: llama.cpp's sentencepiece tokenizer has no"):
            llama_cpp_tokenizers.adds_blank(settings)
    else:
        assert llama_cpp_tokenizers.adds_blank(settings) is adds


def test_a_tokenizer_needs_a_token_that_ends_a_text():
    bare = Tokenizer(models.BPE({"a": 0}, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(ValueError, match="no control token"):
        llama_cpp_tokenizers.require_supported(bare, NAMED["gpt-2"])
    llama_cpp_tokenizers.require_supported(traced_model.tokenizer(), NAMED["gpt-2"])
