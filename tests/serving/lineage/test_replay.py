import pytest

from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.serving.lineage import replay
from refrain.serving.lineage.answer_log import Answer


def answer(texts, reasons):
    request = GenerationRequest([1], SamplingParams(), 5)
    return Answer("a", 0, "refrain", "seal", [request] * len(texts), texts, reasons)


@pytest.mark.parametrize(
    ("before", "reason", "now", "expected"),
    [
        ("caf\u00e9 \U0001f642", "stop", "caf\u00e9 \U0001f642", {"equal": True}),
        ("abc", "stop", "abx!", {"equal": False, "at": 2, "before": "c", "now": "x!"}),
        ("abc", "stop", "abcd", {"equal": False, "at": 3, "before": "", "now": "d"}),
        ("abc", "timeout", "abcd", {"equal": True}),  # it was cut off, and would have gone on so
        ("abc", "timeout", "ab", {"equal": False, "at": 2, "before": "c", "now": ""}),
        ("", "length", "", {"equal": True}),
    ],
)
def test_two_texts_are_equal_or_differ_from_a_character_on(before, reason, now, expected):
    compared = replay.compare_answers(answer(["same", before], ["stop", reason]), ["same", now])
    assert compared["choices"] == [{"index": 0, "equal": True}, {"index": 1, **expected}]
    assert compared["equal"] is expected["equal"] and (compared["reason"] is None) is expected["equal"]
