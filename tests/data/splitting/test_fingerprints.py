"""Rows are equal by what they say, and drawn by what they ask, byte for byte as json, hashlib and nothing else tell."""

import json
from hashlib import blake2b, sha256

import pytest
from single_rows import talk

from refrain.data.splitting.fingerprints import fingerprint_rows, quote
from refrain.data.splitting.row_batches import fold_prompts

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def fingerprint(row, group=None):
    return [int(number[0]) for number in fingerprint_rows([row], [group], fold_prompts([row]), 42)]


@pytest.mark.parametrize(
    "text", ["", "a b", 'a "b" \\', "\x1f\b\f\n\r\t/", "\x7f", "é\u2028🌧", "".join(map(chr, range(128)))]
)
def test_a_text_is_quoted_as_json_quotes_it(text):
    assert quote(text) == json.dumps(text).encode()


@pytest.mark.parametrize("group", [None, "a group"])
@pytest.mark.parametrize("more, rest", [({}, []), ({"rejected": "No"}, []), ({"tools": TOOLS}, [json.dumps(TOOLS)])])
def test_numbers_are_those_of_the_text_without_case_and_white_space(group, more, rest):
    row = {"id": "a:1", "messages": [{"role": "system", "content": " Be\tKIND "}, *talk("Straße?", "Yes\n")], **more}
    prompt = json.dumps([["system", "be kind"], ["user", "strasse?"]])
    _, content, group_number, draw = fingerprint(row, group)
    whole = "\0".join([prompt, "Yes\n", more.get("rejected", ""), *rest])
    assert content == int.from_bytes(blake2b(whole.encode(), digest_size=8).digest(), "little")
    drawn = prompt if group is None else json.dumps(group)
    assert draw == int.from_bytes(sha256(f"42 {drawn}".encode()).digest()[:8], "big")
    assert (group_number == 0) == (group is None)


def test_rows_that_ask_the_same_have_one_prompt_whatever_they_answer():
    one, other = fingerprint({"messages": talk("What  IS it", "a")}), fingerprint({"messages": talk("what is it", "b")})
    assert one[0] == other[0] and one[1] != other[1]
    assert one[0] != fingerprint({"messages": talk("what is it", "b", "what is it", "b")})[0]
    context = talk("a", "b", "c", "d")
    context[1]["train"] = False
    assert fingerprint({"messages": context})[1] != fingerprint({"messages": talk("a", "b", "c", "d")})[1]
