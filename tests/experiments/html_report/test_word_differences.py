"""What is marked of an answer beside its reference, in any script."""

import pytest

from refrain.experiments.html_report.word_differences import find_differences, mark_differences

PAIRS = {
    ("", ""): [],
    ("", "It is."): ["+It is."],
    ("It is.", " "): ["-It is."],
    ("It is  so.", "It is  so."): [" It is  so."],
    ("About 97 percent is salt.", "About 3 percent is salt."): [" About", "- 97", "+ 3", "  percent is salt."],
    ("It is so.", "It is so"): [" It is so", "-."],
    ("one two three four", "one two"): [" one two", "- three four"],
    ("not one two three", "one two three"): ["-not ", " one two three"],
    ("水は青いです", "水は赤いです"): [" 水は", "-青", "+赤", " いです"],
    ("one two three four", "nothing of this four"): ["+nothing of this four"],
}


@pytest.mark.parametrize(("reference", "answer"), PAIRS)
def test_words_that_were_added_and_words_that_are_missing(reference, answer):
    pieces = find_differences(reference, answer)
    assert pieces == PAIRS[reference, answer]
    assert "".join(piece[1:] for piece in pieces if piece[0] != "-") == answer.strip()


def test_marks_are_elements_and_texts_are_none():
    expected = "a &lt;b&gt; <del>c</del> <ins>&quot;d&quot;</ins> e f g h"
    assert mark_differences("a <b> c e f g h", 'a <b> "d" e f g h') == expected
