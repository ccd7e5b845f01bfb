"""Exports of ChatGPT and Claude: the branch that was shown, and nothing of what was hidden."""

import pytest
from single_rows import TURNS, parsed, said, talk

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import ignored, recognition
from refrain.data.shapes.errors import RowError
from refrain.pipeline.schema import SourceConfig


def message(role, *parts, kind="text", **more):
    return {"author": {"role": role}, "content": {"content_type": kind, "parts": [*parts]}, "status": "x", **more}


def export(*messages, current_node="n2", **nodes):
    """A chain below an empty root, as n1, n2 ..."""
    chain = {f"n{n}": {"message": each, "parent": f"n{n - 1}"} for n, each in enumerate(messages, 1)}
    return {"title": "x", "current_node": current_node, "mapping": {"n0": {"parent": None}, **chain, **nodes}}


CHAT = (message("user", "Hi"), message("assistant", "Hello"))


def refusal(row):
    (error,) = parsed(row)
    assert isinstance(error, RowError), error
    return error.reason


def test_the_branch_that_was_shown_last_is_the_conversation():
    other = {"message": message("assistant", "Hey"), "parent": "n1"}
    assert said(export(*CHAT, other=other))["messages"] == TURNS
    assert said(export(*CHAT, other=other, current_node="other"))["messages"] == talk("Hi", "Hey")


def test_what_nobody_was_shown_is_left_out():
    hidden = message("user", "secret", metadata={"is_visually_hidden_from_conversation": True})
    row = export(message("system", "", weight=0.0), hidden, *CHAT, current_node="n4")
    assert said(row)["messages"] == TURNS


@pytest.mark.parametrize("row, reason", [
    (export(CHAT[0], message("assistant", "search()", recipient="web")), "more_than_text"),
    (export(CHAT[0], message("assistant", "print(1)", kind="code")), "more_than_text"),
    (export(message("user", {"content_type": "image"}, kind="multimodal_text"), CHAT[1]), "more_than_text"),
    (export(CHAT[0], {"author": {"role": "assistant"}}), "missing_field"),
    (export(CHAT[0], message("narrator", "x")), "unknown_role"),
    (export(*CHAT, current_node="gone"), "missing_field"),
    (export(*CHAT, n1={"message": None, "parent": "n2"}), "missing_field"),
    (export(CHAT[0], "x"), "not_an_object"),
])  # fmt: skip
def test_what_is_no_text_or_no_tree_costs_its_row(row, reason):
    assert refusal(row) == reason


def test_a_reply_of_no_weight_is_context_and_ids_of_nodes_are_no_fields():
    row = export(*CHAT, message("user", "a?"), message("assistant", "b", weight=0), current_node="n4")
    assert said(row)["messages"] == TURNS
    layout = recognition.recognise_layout(SourceConfig("x"), [RawRow(1, row)])
    assert ignored.find_ignored(row, ignored.read_fields(layout)) == {"title"}


def test_an_export_of_claude_is_turns():
    turns = [{"sender": who, "text": text, "content": [{"type": "text", "text": text}], "attachments": [], "files": []}
             for who, text in (("human", "Hi"), ("assistant", "Hello"))]  # fmt: skip
    assert said({"uuid": "u", "name": "x", "chat_messages": turns})["messages"] == TURNS
