"""The application as a whole: real sockets, a real model."""


def test_a_question_is_answered(served):
    answer = served.chat(seed=1).json()
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer["system_fingerprint"] and answer["model"] == "refrain"
