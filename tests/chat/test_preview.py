"""What is learned stands between brackets, and nothing in a text can be taken for one, or for a command."""

import pytest
from dialogues import CHATML, ORDINARY, TEMPLATES, TYPED, dialogue, learned, sentencepiece

from refrain.chat import encoding, preview


@pytest.mark.parametrize("kind", ["bytes", "first", "prepended", "unigram"])
@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "own"])
def test_between_the_brackets_stands_what_is_learned(saved, tokenizer, kind, template):
    raw = tokenizer if kind == "bytes" else sentencepiece(kind)
    named = (
        {"bos_token": "<|bos|>", "eos_token": "<|im_end|>"}
        if kind == "bytes"
        else {"bos_token": "<s>", "eos_token": "</s>"}
    )
    talk = encoding.load_tokenizer(saved(raw, **named), TEMPLATES[template])
    for messages in (ORDINARY, TYPED):
        shown = preview.preview_row(talk, {"id": "0", "messages": messages})
        assert [each.partition("⟧")[0] for each in shown.split("⟦")[1:]] == learned(
            talk, encoding.encode_conversation(talk, messages)
        )
        whole = encoding.render_conversation(talk, messages)[0]
        assert "".join(shown.replace("⟦", "").replace("⟧", "").split()) == "".join(whole.split())


def test_brackets_of_the_text_get_other_brackets_around_them(talk):
    shown = preview.preview_row(talk, {"id": "0", "messages": dialogue("be", "⟦a⟧", "⟧")})
    assert shown.count("⟦") == 1 and "⟪⟧<|im_end|>⟫" in shown


def test_control_characters_are_shown_and_not_obeyed(talk):
    shown = preview.preview_row(talk, {"id": "0", "messages": dialogue("be", "\x1b[2J\r\x7f", "a\n\tb")})
    assert "␛[2J␍␡" in shown and "⟦a\n\tb<|im_end|>⟧" in shown


def test_a_worse_reply_stands_below(talk):
    row = {"id": "0", "messages": dialogue("be", "a", "b"), "rejected": "c\x1b"}
    assert preview.preview_row(talk, row).endswith("⟦b<|im_end|>⟧\n\n\nrejected: c␛")


def test_a_bad_reply_is_shown_unmarked(talk):
    row = {"id": "0", "messages": dialogue("be", "a", "b"), "label": False}
    assert preview.preview_row(talk, row).endswith("b<|im_end|>\n\n\nlabel: false")
    assert "⟦" not in preview.preview_row(talk, row)
    assert preview.preview_row(talk, {**row, "label": True}).endswith("⟦b<|im_end|>⟧\n")


def test_a_row_that_the_template_cannot_take_is_refused(base):
    with pytest.raises(ValueError, match="not me"):
        preview.preview_row(
            encoding.load_tokenizer(base, "{{ raise_exception('not me') }}" + CHATML), {"id": "0", "messages": ORDINARY}
        )
