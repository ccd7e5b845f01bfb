from refrain.experiments.comparison.row_pairs import pair_rows


def rows(*contents, file="0-test.jsonl"):
    """A row of each question and reference."""
    return [
        {"id": f"{file}:{i}", "question": question, "prediction": f"{file} {i}", "reference": reference}
        for i, (question, reference) in enumerate(contents, start=1)
    ]


def partners(candidate, baseline):
    pairs = pair_rows(candidate, baseline)
    return [(row["id"], other["id"]) for row, other in zip(pairs.candidate, pairs.baseline, strict=True)]


def test_rows_of_reordered_files_find_each_other_by_what_they_ask_and_expect():
    ours, theirs = rows(("Why?", "1"), ("How?", "2")), rows(("How?", "2"), ("Why?", "1"), file="3-test.jsonl")
    assert partners(ours, theirs) == [("0-test.jsonl:1", "3-test.jsonl:2"), ("0-test.jsonl:2", "3-test.jsonl:1")]
    assert pair_rows(ours, theirs).is_same_set


def test_a_question_that_occurs_twice_goes_by_its_id_then_by_order():
    ours = rows(("Why?", "1"), ("Why?", "1"), ("Why?", "1"))
    theirs = [*rows(("Why?", "1"), file="other"), *ours[1:]]
    assert partners(ours, theirs) == [
        ("0-test.jsonl:1", "other:1"),
        ("0-test.jsonl:2", "0-test.jsonl:2"),
        ("0-test.jsonl:3", "0-test.jsonl:3"),
    ]


def test_how_two_sets_differ_is_told_by_kind():
    ours, theirs = rows(("Why?", "1"), ("How?", "2"), ("Who?", "3")), rows(("Why?", "1"), ("How?", "mended"))
    pairs = pair_rows(ours, theirs)
    assert not pairs.is_same_set
    assert pairs.describe_difference() == (
        "1 row in both, 1 have another question or reference under the same id, 1 are the candidate's alone "
        "(such as 0-test.jsonl:2)"
    )
    assert pair_rows(ours, ours).describe_difference() == ""


def test_what_the_baseline_alone_has_is_counted_too():
    ours, theirs = rows(("Why?", "1")), rows(("Why?", "1"), ("Why?", "1"))
    assert "1 are the baseline's alone" in pair_rows(ours, theirs).describe_difference()
