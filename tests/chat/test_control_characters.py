import pytest

from refrain.chat.control_characters import escape_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\r\x07\x7f", "␛[2J␍␇␡"),
        ("\x9b31m\x85next", "<U+009B>31m<U+0085>next"),
        ("\u202eexe.txt\u202c", "<U+202E>exe.txt<U+202C>"),
        ("a\u2066b\u2069", "a<U+2066>b<U+2069>"),
    ],
)
def test_what_moves_the_cursor_or_turns_text_is_shown_by_a_sign(text, shown):
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a\n\tb",
        "שלום\u200f (עולם)\u200e",
        "السلام\u061c عليكم",
        "می\u200cخواهم",  # noqa: RUF001
        "क\u094dष नमस्ते",
        "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 e\u0301 日本語 ไทย",
        "no\u00a0break, soft\u00adhyphen",
    ],
)
def test_every_script_is_shown_as_it_is(text):
    assert escape_controls(text) == text
