"""Questions about passages: the offset of an answer is believed only where the answer stands."""

import pytest
from single_rows import parsed, said, talk

CONTEXT = "  Fog 🌫 is a cloud\r\nthat touches the ground. "
# the layout of SQuAD 2.0: rows are the articles in `data`
ARTICLE = {
    "title": "Fog",
    "paragraphs": [
        {
            "context": CONTEXT,
            "qas": [
                {
                    "id": "q1",
                    "question": "What is fog?",
                    "answers": [
                        {"text": "a cloud", "answer_start": CONTEXT.index("a cloud")},
                        {"text": "cloud", "answer_start": 0},
                    ],
                    "is_impossible": False,
                },
                {
                    "id": "q2",
                    "question": "Who made it?",
                    "answers": [],
                    "is_impossible": True,
                    "plausible_answers": [{"text": "Fog", "answer_start": 2}],
                },
                {"id": "q3", "question": "Where?", "answers": [{"text": "ground", "answer_start": 3}]},
            ],
        },
        {"context": "no questions"},
        {"qas": [{"id": "q4", "question": "What?", "answers": []}]},
    ],
}


def test_every_question_of_an_article_has_a_fate():
    first, *errors = parsed(ARTICLE)
    assert first == {
        "messages": talk(f"{CONTEXT}\n\nWhat is fog?", "a cloud"),
        "own_id": "q1",
        "group": CONTEXT,
    }
    assert [(error.reason, str(error)) for error in errors] == [
        ("unanswerable", "question 2 of paragraph 1 has no answer in its context"),
        ("wrong_offset", "the first answer of question 3 of paragraph 1 does not begin at character 3"),
        ("missing_field", "paragraph 2 has no qas"),
        ("missing_field", "question 1 of paragraph 3 has no context"),
    ]


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["a cloud", "x"], "answer_start": [CONTEXT.index("a cloud"), 99]},
        [{"text": "a cloud", "answer_start": CONTEXT.index("a cloud")}],
    ],
)
def test_a_flat_row_is_one_question(answers):
    row = {"id": "57", "title": "Fog", "context": CONTEXT, "question": "What is fog?", "answers": answers}
    assert said(row) == {
        "messages": talk(f"{CONTEXT}\n\nWhat is fog?".replace("\r\n", "\n"), "a cloud"),
        "own_id": "57",
        "group": CONTEXT,
    }


def test_an_article_without_questions_is_not_forgotten():
    (error,) = parsed({"title": "x", "paragraphs": []}, shape="squad")
    assert (error.reason, str(error)) == ("missing_field", "the row holds no conversation")
