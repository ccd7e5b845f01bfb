"""Control tokens that a person typed are text, however strange the tokenizer."""

import pytest
from dialogues import ORDINARY, TEMPLATES, controls, dialogue, learned, sentencepiece
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from refrain import chat


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
    assert features["input_ids"].count(talk.vocabulary.special["<|user|>"]) == 2


def test_control_tokens_may_overlap_and_be_a_single_character(saved):
    raw = sentencepiece("first")
    raw.add_special_tokens([AddedToken(name, normalized=False) for name in ("s>?", "¤")])
    talk = chat.load(saved(raw, eos_token="</s>"), TEMPLATES["alpaca"])
    features = chat.features(talk, dialogue("", "", "a¤", "<s>?", "a"))
    assert controls(talk, features["input_ids"]) == [talk.vocabulary.special["</s>"]] * 2
    assert learned(talk, features) == ["a¤</s>", "a</s>"]
