"""Text is gone on with, as it is."""

from itertools import chain

import pytest

PATH = "/v1/completions"


def ask(prompt, **fields):
    return {"prompt": prompt, "max_tokens": 6, "seed": 7, **fields}


def texts(answer):
    return [choice["text"] for choice in answer.json()["choices"]]


def ids(server, text):
    return server.post("/tokenize", {"prompt": text}).json()["tokens"]


def test_a_prompt_is_a_text_texts_ids_or_lists_of_ids(server):
    one, two = (texts(server.post(PATH, ask(prompt)))[0] for prompt in ("Hello", "né 🙂"))
    assert texts(server.post(PATH, ask(["Hello", "né 🙂"]))) == [one, two] and one != two
    assert texts(server.post(PATH, ask(ids(server, "Hello")))) == [one]
    assert texts(server.post(PATH, ask([ids(server, "Hello"), ids(server, "né 🙂")]))) == [one, two]
    both = server.post(PATH, ask(["Hello", "né 🙂"], n=2)).json()
    assert [choice["index"] for choice in both["choices"]] == [0, 1, 2, 3]
    assert [both["choices"][nth]["text"] for nth in (0, 2)] == [one, two]
    assert both["usage"]["prompt_tokens"] == len("Hello") + len("né 🙂".encode())


@pytest.mark.parametrize("fields", [
    {"prompt": []}, {"prompt": ""}, {"prompt": [1, "a"]}, {"prompt": [[1], [-1]]}, {"prompt": [259]}, {"prompt": [[]]},
    {"prompt": {"a": 1}}, {"prompt": None}, {"prompt": [True]}, {"prompt": ["a"] * 73}, {"logprobs": 21},
    {"logprobs": True}, {"best_of": 2}, {"suffix": "b"}, {"messages": []}, {"truncate": "oldest"}, {"max_tokens": 0},
], ids=lambda fields: str(fields)[:40])  # fmt: skip
def test_what_cannot_be_gone_on_with_is_refused_by_name(server, fields):
    answer = server.post(PATH, {**ask("a"), **fields})
    assert answer.status_code == 400 and answer.json()["error"]["param"].startswith(*fields)


def test_a_text_that_is_too_long_is_refused(server):
    error = server.post(PATH, ask("x" * 1200)).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")


def test_an_echo_stands_before_the_reply(server):
    alone = texts(server.post(PATH, ask("né 🙂")))[0]
    assert texts(server.post(PATH, ask("né 🙂", echo=True))) == [f"né 🙂{alone}"]
    events = server.stream(PATH, ask("né 🙂", echo=True))
    assert "".join(event["choices"][0]["text"] for event in events) == f"né 🙂{alone}"
    assert server.post(PATH, ask("a", echo=True, logprobs=0)).json()["error"]["param"] == "echo"


def test_log_probabilities_have_the_older_form(server):
    choice = server.post(PATH, ask("Hello", logprobs=2, guided_regex="né🙂!", max_tokens=8)).json()["choices"][0]
    found = choice["logprobs"]
    assert choice["text"] == "né🙂!" and found["text_offset"] == [0, 1, 1, 2, 2, 2, 2, 3]  # a token is a byte
    assert {*map(len, found["top_logprobs"])} == {2} and max(found["token_logprobs"]) < 0
    assert found["tokens"][0] == "n" and found["tokens"][1] == "bytes:\\xc3"
    streamed = [event["choices"][0]["logprobs"] for event in server.stream(PATH, ask("Hello", logprobs=2))]
    whole = server.post(PATH, ask("Hello", logprobs=2)).json()["choices"][0]["logprobs"]
    assert [*chain.from_iterable(each["tokens"] for each in streamed)] == whole["tokens"]
    assert [*chain.from_iterable(each["text_offset"] for each in streamed)] == whole["text_offset"]


def test_control_tokens_in_a_text_are_control_tokens(server):
    prompt = server.post("/apply-template", {"messages": [{"role": "user", "content": "Hello"}]}).json()["prompt"]
    chat = server.chat(seed=7, max_tokens=6).json()
    answer = server.post(PATH, ask(prompt)).json()
    assert answer["choices"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert answer["usage"] == chat["usage"] and answer["object"] == "text_completion"
