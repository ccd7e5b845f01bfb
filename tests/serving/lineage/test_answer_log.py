from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.serving.lineage.answer_log import Answer, AnswerLog


def answer(name, num_tokens=10, owner=""):
    request = GenerationRequest(list(range(num_tokens)), SamplingParams(), 5)
    return Answer(name, 0, "refrain", "seal", [request, request], ["a", "b"], owner=owner)


def test_the_oldest_answers_leave_where_there_is_no_room():
    log = AnswerLog(20_000)
    for nth in range(50):
        log.add(answer(f"a{nth}"))
    assert log.num_bytes <= 20_000 and 2 < len(log) < 20
    assert log.find("a49") and log.find("a0") is None
    log.add(answer("long", num_tokens=10_000))
    assert len(log) == log.num_bytes == 0  # one that never fits leaves too


def test_an_answer_is_known_to_the_key_that_asked():
    log = AnswerLog(20_000)
    log.add(answer("a", owner="ann"))
    assert log.find("a", "ann") and log.find("a", "bob") is None and log.find("a") is None


def test_an_answer_that_comes_again_is_counted_once():
    log = AnswerLog(20_000)
    for _ in range(3):
        log.add(answer("a"))
    assert log.num_bytes == answer("a").num_bytes()
