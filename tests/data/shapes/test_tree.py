"""Trees of messages: every leaf has a fate, and deleted messages are not there."""

import pytest
from single_rows import parsed, talk, wanted

from refrain.data.shapes.errors import RowError


def spoken(id, role, *replies, **more):
    return {"message_id": id, "text": id.upper(), "role": role, "replies": list(replies), "lang": "en", **more}


# the layout of 2023-04-12_oasst_ready.trees.jsonl
TREE = {
    "message_tree_id": "a",
    "tree_state": "ready_for_export",
    "prompt": spoken(
        "a",
        "prompter",
        spoken("j", "assistant", rank=None),
        spoken("b", "assistant", spoken("c", "prompter", spoken("d", "assistant")), rank=1),
        spoken("e", "assistant", spoken("f", "prompter"), spoken("g", "prompter", deleted=True), rank=0),
        spoken("h", "assistant", spoken("i", "prompter", deleted=True), rank=2),
    ),
}


def leaves(tree, policy="all"):
    return [
        str(said) if isinstance(said, RowError) else "".join(turn["content"] for turn in said["messages"])
        for said in parsed(tree, tree=policy)
    ]


def test_every_leaf_is_a_conversation():
    _, first, second, _ = parsed(TREE)
    assert first == {"messages": talk("A", "B", "C", "D"), "own_id": "d", "group": "a"}
    assert leaves(TREE) == ["AJ", "ABCD", "AEF", "AH"]
    with pytest.raises(RowError, match="nobody replies"):
        wanted(second)
    assert wanted(second, unanswered="cut")["messages"] == talk("A", "E")


def test_the_best_path_follows_the_ranks_and_the_others_are_set_aside():
    assert leaves(TREE, "best") == [
        "message 'j' ends a path that is not the best one",
        "message 'd' ends a path that is not the best one",
        "AEF",
        "message 'h' ends a path that is not the best one",
    ]
    assert {said.reason for said in parsed(TREE, tree="best") if isinstance(said, RowError)} == {"unwanted_path"}


def test_without_ranks_the_first_reply_is_the_best():
    tree = {
        "message_tree_id": "a",
        "prompt": spoken("a", "prompter", spoken("b", "assistant"), spoken("c", "assistant")),
    }
    assert leaves(tree, "best") == ["AB", "message 'c' ends a path that is not the best one"]


def test_a_broken_message_spoils_only_what_replies_to_it():
    broken = spoken("b", "robot", spoken("c", "assistant"), spoken("d", "assistant"))
    tree = {"message_tree_id": "a", "prompt": spoken("a", "prompter", broken, 7, spoken("e", "assistant"))}
    role, kind, whole = leaves(tree)
    assert role.startswith("message 'b' has the role 'robot', not one of ")
    assert (kind, whole) == ("a message is a number, not an object with named fields", "AE")


def test_a_tree_may_be_deeper_than_calls():
    node = spoken("z", "assistant")
    for _ in range(10_000):
        node = spoken("y", "assistant", spoken("x", "prompter", node))
    (said,) = parsed({"message_tree_id": "a", "prompt": spoken("a", "prompter", node)})
    assert len(said["messages"]) == 20_002
