"""Ids of texts and of conversations, and back."""

import pytest

MESSAGES = [{"role": "user", "content": "a<|im_end|>b"}]
TEXT = "a<|im_end|>né 🙂"


def test_ids_are_counted_and_what_the_context_has_left(server):
    answer = server.post("/tokenize", {"prompt": TEXT}).json()
    assert answer["count"] == len(answer["tokens"]) == 10 and answer["left"] == 1200 - 10
    assert server.post("/tokenize", {"content": TEXT}).json() == answer
    assert server.post("/detokenize", {"tokens": answer["tokens"]}).json() == {"prompt": TEXT, "content": TEXT}
    as_text = server.post("/tokenize", {"prompt": TEXT, "parse_special": False}).json()
    assert as_text["count"] == len(TEXT.encode())


def test_pieces_are_texts_or_bytes(server):
    answer = server.post("/tokenize", {"prompt": "é<|im_end|>", "with_pieces": True, "return_token_strs": True}).json()
    assert [token["piece"] for token in answer["pieces"]] == [[0xC3], [0xA9], "<|im_end|>"]
    assert answer["token_strs"][-1] == "<|im_end|>"


def test_a_conversation_has_the_ids_that_a_chat_is_asked_with(server):
    count = server.post("/tokenize", {"messages": MESSAGES}).json()["count"]
    assert server.chat(messages=MESSAGES).json()["usage"]["prompt_tokens"] == count
    answer = server.post("/apply-template", {"messages": MESSAGES}).json()
    assert answer["prompt"] == "<|im_start|>user\na<|im_end|>b<|im_end|>\n<|im_start|>assistant\n"
    assert [answer["prompt"][at : at + 10] for at in answer["typed"]] == ["<|im_end|>"]
    turns = [*MESSAGES, {"role": "assistant", "content": "We"}]
    continued = server.post("/apply-template", {"messages": turns, "continue_final_message": True}).json()
    assert continued["prompt"] == answer["prompt"] + "We"


@pytest.mark.parametrize(("path", "body", "param"), [
    ("/tokenize", {}, "prompt"), ("/tokenize", {"prompt": "a", "messages": MESSAGES}, "prompt"),
    ("/tokenize", {"messages": [{"role": "robot", "content": "a"}]}, "messages[0].role"),
    ("/detokenize", {"tokens": [259]}, "tokens"), ("/detokenize", {"tokens": [-1]}, "tokens"),
    ("/detokenize", {"tokens": ["a"]}, "tokens[0]"), ("/detokenize", {}, "tokens"),
    ("/apply-template", {"messages": []}, "messages"), ("/tokenize", {"text": "a"}, "text"),
], ids=str)  # fmt: skip
def test_what_has_no_ids_is_refused(server, path, body, param):
    answer = server.post(path, body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
