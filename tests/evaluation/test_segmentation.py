"""Words in any script: what the metrics count."""

import sys
import unicodedata

import pytest

from refrain.evaluation.segmentation import normalise_text, word_pair, words


@pytest.mark.parametrize("text, expected", [
    ("Não, a REUTILIZAÇÃO d'água: 2x", ["não", "a", "reutilização", "d", "água", "2x"]),
    ("東京 Ёлка", ["東", "京", "ёлка"]),
    ("今天是2024年。", ["今", "天", "是", "2024", "年"]),
    ("コーヒーとAI、人々", ["コ", "ー", "ヒ", "ー", "と", "ai", "人", "々"]),
    ("น้ำดี ๑๒", ["น้ำ", "ดี", "๑๒"]),
    ("မြန်မာ ភាសាខ្មែរ", ["မြ", "န်", "မာ", "ភា", "សា", "ខ្មែ", "រ"]),
    ("हिन्दी दिन।", ["हिन्दी", "दिन"]),
    ("می‌خواهم مُحَمَّد", ["می‌خواهم", "مُحَمَّد"]),
    ("한국어 단어", ["한국어", "단어"]),
    ("👍🏽 ok👩‍🚀 🇩🇪🇫🇷 ❤️ ✓", ["👍🏽", "ok", "👩‍🚀", "🇩🇪", "🇫🇷", "❤️", "✓"]),
    ("x² CO₂ ½ snake_case 20 °C €5", ["x²", "co₂", "½", "snake", "case", "20", "c", "5"]),
    ("was\u00adser \u200e\u05e9\u05dc\u05d5\u05dd", ["wasser", "\u05e9\u05dc\u05d5\u05dd"]),
    ("+ = …", ["+", "=", "…"]),
    (" \n", []),
])  # fmt: skip
def test_marks_belong_to_letters_and_characters_without_blanks_stand_alone(text, expected):
    assert words(text) == expected


def test_every_letter_and_digit_of_unicode_is_a_word():
    assigned = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code))[0] in "LN"]
    plain = [character for character in assigned if normalise_text(character) == character]
    assert len(plain) > 100_000
    assert [character for character in plain if words(character) != [character.lower()]] == []


def test_signs_count_in_both_texts_where_one_holds_nothing_else():
    assert word_pair("a+", "+") == (["a", "+"], ["+"])
    assert word_pair("a+", "b-") == (["a"], ["b"])
    assert word_pair("", "...") == ([], [".", ".", "."])
