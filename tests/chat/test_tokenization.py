"""Control tokens that a person typed are text, however strange the tokenizer."""

import pytest
from dialogues import ORDINARY, TEMPLATES, controls, dialogue, learned, sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from refrain.chat import encoding, tokenization
from refrain.chat.tokenization import TokenizerIndex


@pytest.mark.parametrize("kind", ["first", "prepended"])
def test_control_tokens_may_swallow_the_blanks_beside_them(saved, kind):
    """As Phi-3's do: the line break after a marker is part of the marker."""
    raw = sentencepiece(kind)
    swallowing = [AddedToken(f"<|{name}|>", lstrip=True, rstrip=True, normalized=False) for name in ("end", "user")]
    raw.add_special_tokens([*swallowing, AddedToken("<|assistant|>", rstrip=True, normalized=False)])
    folder = saved(raw, eos_token="</s>")
    talk = encoding.load_tokenizer(folder, TEMPLATES["phi"])
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    features = encoding.encode_conversation(talk, ORDINARY)
    assert features["input_ids"] == theirs.apply_chat_template(ORDINARY, chat_template=talk.template)
    typed = dialogue("", "hello  <|user|>  there", "no <|end|> yet \n", "\n<|user|>\n", "\n\nhello")
    features = encoding.encode_conversation(talk, typed)
    assert [text.lstrip() for text in learned(talk, features)] == ["no <|end|> yet<|end|>", "hello<|end|>"]
    assert "hello  <|user|>  there<|end|>" in talk.tokenizer.decode(features["input_ids"], skip_special_tokens=False)
    assert features["input_ids"].count(talk.index.special_ids["<|user|>"]) == 2


def test_control_tokens_may_overlap_and_be_a_single_character(saved):
    raw = sentencepiece("first")
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in ("s>?", "¤")])
    talk = encoding.load_tokenizer(saved(raw, eos_token="</s>"), TEMPLATES["alpaca"])
    features = encoding.encode_conversation(talk, dialogue("", "", "a¤", "<s>?", "a"))
    assert controls(talk, features["input_ids"]) == [talk.index.special_ids["</s>"]] * 2
    assert learned(talk, features) == ["a¤</s>", "a</s>"]


def test_a_token_that_begins_within_a_character_and_crosses_a_border_doubles_no_byte():
    letters = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    last = cut.pre_tokenize_str("🙂")[0][0][-1]
    raw = Tokenizer(models.BPE(letters | {last + "h": 256}, [(last, "h")]))
    raw.pre_tokenizer, raw.decoder = cut, decoders.ByteLevel()
    placed = tokenization.tokenize(TokenizerIndex(raw), "🙂hi", [], [1])
    assert raw.decode([token for token, _ in placed]) == "🙂hi"
    assert [at for _, at in placed] == [0, 0, 0, 0, 1, 2]
