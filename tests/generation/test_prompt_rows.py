"""Lines of prompts: what is asked, and why a line asks nothing."""

import pytest

from refrain.generation import prompt_rows
from refrain.generation.prompt_rows import BadLine, Prompt


@pytest.mark.parametrize("row, sentence", [
    (b"{", "it is not JSON ("),
    (b"\xff{}", "it is not JSON ('utf-8' codec can't decode byte 0xff"),
    (b'{"question": "hello"}', "it asks nothing; write "),
    (b'{"messages": []}', "it asks nothing; write "),
    (b'{"messages": [{"role": "robot", "content": "hello"}]}', "it asks nothing; write "),
    (b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
     "the assistant has the last word, so nothing is asked; end with a user's message"),
    (b"7", "it asks nothing; write "),
    (b'{"prompt": "\\udc00", "id": 1}', "a text holds half of a surrogate pair; "),
    (b'{"messages": [{"role": "robot", "content": "a"}, {"role": "user", "content": "b"}]}',
     "turn 1 of messages has the role 'robot', not one of system, user, assistant, tool"),
    (b'{"prompt": "a", "tools": ["{"]}', "tool 1 in tools of the row is no JSON"),
    (b'{"prompt": "a", "tools": [{"name": "rain"}]}', "the row has tools, which the chat template does not write"),
])  # fmt: skip
def test_a_line_that_asks_nothing_is_set_apart_with_its_reason_and_loses_no_other(row, sentence, talk):
    lines = [b'\xef\xbb\xbf{"prompt": "hello"}\r\n', b" \n", row + b"\n", b'{"prompt": "hello", "id": "b"}']
    first, bad, last = prompt_rows.read_prompts(lines, talk, "")
    assert (type(first), type(last), first.ids) == (Prompt, Prompt, last.ids)
    assert (first.id, last.id) == (1, "b")
    assert isinstance(bad, BadLine) and bad.reason.startswith(sentence) and "\n" not in bad.reason
    assert (bad.line, bad.text) == (3, row.decode("utf-8", "backslashreplace"))
