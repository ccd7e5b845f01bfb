from refrain.experiments.comparison.changed_rows import find_changed_rows
from refrain.experiments.comparison.row_pairs import RowPairs


def pairs(*answers):
    """A row for each reference with the answers of baseline and candidate."""
    rows = [
        [{"id": str(i), "question": "?", "prediction": text, "reference": reference} for text in (before, after)]
        for i, (reference, before, after) in enumerate(answers)
    ]
    baseline, candidate = ([row[side] for row in rows] for side in (0, 1))
    return RowPairs(candidate, baseline, [], [])


def ids(rows):
    return [row.candidate["id"] for row in rows]


def test_exact_match_decides_where_it_came_or_went_and_the_largest_change_is_first():
    found = find_changed_rows(
        pairs(("a b c", "a b c", "a b"), ("a b c", "a b c", "x"), ("a", "x", "a"), ("a", "x", "y"), ("a", "x", "x"))
    )
    assert (found.by, ids(found.lost), ids(found.won), found.others) == ("exact_match", ["1", "0"], ["2"], 1)


def test_where_no_answer_is_word_for_word_rouge_decides():
    found = find_changed_rows(pairs(("a b c d", "a x", "a b x"), ("a b", "b x", "x"), ("a", "x", "y"), ("a", "x", "x")))
    assert (found.by, ids(found.lost), ids(found.won), found.others) == ("rougeL", ["1"], ["0"], 1)
