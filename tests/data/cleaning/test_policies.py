"""Policies change what they say, count it once a row, and set aside what is not wanted."""

from collections import Counter
from dataclasses import replace
from itertools import chain, product

import pytest
from single_rows import DEFAULT, TURNS, parsed, talk, wanted

from refrain.data.cleaning import policies
from refrain.data.shapes import errors
from refrain.data.shapes.errors import RowError
from refrain.pipeline.validation import POLICIES

SYSTEM = {"role": "system", "content": "Be kind."}


def chat(*messages, **more):
    return {"messages": list(messages), **more}


def reason(conversation, **policy):
    """Why policies do not want a conversation."""
    with pytest.raises(RowError) as caught:
        wanted(conversation, **policy)
    return caught.value.reason


def turns(pattern):
    """The turns of a chat, one a letter: s, u, a and t; a capital one says nothing."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [
        {"role": roles[sign.lower()], "content": " \n" if sign.isupper() else f"{sign}{place}"}
        for place, sign in enumerate(pattern)
    ]


def pattern(messages):
    return "".join(message["role"][0] for message in messages)


def test_what_no_policy_touches_is_the_same_object():
    effects = Counter()
    conversation = chat(SYSTEM, *talk(" Hi\r\t", "Hello\n"), rejected="Go ")
    assert wanted(conversation, effects) is conversation
    assert not effects


@pytest.mark.parametrize(
    "before, policy, after",
    [
        ("sua", {"system": "remove"}, "ua"),
        ("usa", {"system": "remove"}, "ua"),
        ("Sua", {"system": "remove"}, "ua"),
        ("uaUua", {"empty": "remove"}, "uaua"),
        ("uaU", {"empty": "remove"}, "ua"),
        ("Sua", {"empty": "remove"}, "ua"),
        ("uAa", {"empty": "remove"}, "ua"),
        ("uaUAua", {"empty": "remove"}, "uaua"),
        ("uaaua", {"order": "keep"}, "uaaua"),
        ("uuaauuaa", {"order": "merge"}, "uaua"),
        ("ssua", {"order": "merge"}, "sua"),
        ("uaUau", {"empty": "remove", "order": "merge", "unanswered": "cut"}, "ua"),
        ("uauuu", {"unanswered": "cut"}, "ua"),
        ("uaus", {"unanswered": "cut"}, "ua"),
    ],
)
def test_turns_go_where_a_policy_says(before, policy, after):
    effects = Counter()
    assert pattern(wanted(chat(*turns(before)), effects, **policy)["messages"]) == after
    assert effects == (dict.fromkeys(policy, 1) if before != after else {})


@pytest.mark.parametrize(
    "before, policy, why",
    [
        ("sua", {"system": "drop"}, "system_turn"),
        ("uaUua", {"empty": "drop"}, "empty_turn"),
        ("Sua", {"empty": "drop"}, "empty_turn"),
        ("uA", {"empty": "drop"}, "empty_text"),
        ("uauA", {"empty": "remove"}, "empty_text"),
        ("uAu", {"empty": "remove", "unanswered": "cut"}, "empty_text"),
        ("UA", {"empty": "remove"}, "empty_text"),
        ("Ua", {"empty": "remove"}, "wrong_order"),
        ("U", {"empty": "remove"}, "no_reply"),
        ("uua", {"order": "drop"}, "role_order"),
        ("uaUa", {"empty": "remove", "order": "drop"}, "role_order"),
        ("uau", {"unanswered": "drop"}, "ends_with_user"),
        ("uuu", {"unanswered": "cut"}, "no_reply"),
        ("au", {"unanswered": "cut"}, "no_reply"),
        ("usa", {"order": "merge"}, "wrong_order"),
        ("", {"empty": "remove"}, "no_reply"),
    ],
)
def test_what_is_not_wanted_says_why_and_counts_no_effect(before, policy, why):
    effects = Counter()
    with pytest.raises(RowError) as caught:
        wanted(chat(*turns(before)), effects, whitespace="strip", **policy)
    assert caught.value.reason == why
    assert not effects


def test_policies_set_aside_and_broken_rows_are_quarantined():
    for before, policy in [("sua", {"system": "drop"}), ("uua", {"order": "drop"}), ("uau", {}), ("uUa", {})]:
        assert reason(chat(*turns(before)), **policy) in errors.SET_ASIDE
    for before in ["uA", "u", "usa"]:
        assert reason(chat(*turns(before))) in errors.QUARANTINED


def test_the_newline_rule_knows_one_line_end_and_counts_a_row_once():
    effects = Counter()
    said = chat(*talk("a\r\nb\r\n", "c\r\rd\n\r\n"), rejected="\r\ne")
    assert wanted(said, effects) == chat(*talk("a\nb\n", "c\r\rd\n\n"), rejected="\ne")
    assert effects == {"newlines": 1}
    assert wanted(chat(*TURNS, rejected="e\r\n"))["rejected"] == "e\n"


def test_white_space_is_stripped_around_every_text():
    effects = Counter()
    said = chat(SYSTEM, *talk("\u00a0a  b\r\n", "\u2028c"), rejected="\td")
    assert wanted(said, effects, whitespace="strip") == chat(SYSTEM, *talk("a  b", "c"), rejected="d")
    assert effects == {"whitespace": 1, "newlines": 1}
    assert wanted(chat(*TURNS), effects, whitespace="strip") == chat(*TURNS)
    assert effects == {"whitespace": 1, "newlines": 1}


@pytest.mark.parametrize(
    "instruction, input, policy, above, below",
    [
        ("Do\r\nthis", "a\r\nb", {}, "Do\nthis", "a\nb"),
        ("Do\r", "\na", {}, "Do\r", "\na"),
        (" Do ", " it ", {"whitespace": "strip"}, "Do", "it"),
        ("Write to ann@example.org", "bob@example.org", {"pii": ["email"]}, "Write to [email]", "[email]"),
    ],
)
def test_the_place_of_an_input_moves_with_the_text(instruction, input, policy, above, below):
    (before,) = parsed({"instruction": instruction, "input": input, "output": "Done\r\n", "system": "x\r\n"})
    after = wanted(before, **policy)
    content = after["messages"][1]["content"]
    assert content == f"{above}\n\n{below}"
    assert content[after["input_from"] :] == below


def test_merging_joins_with_a_blank_line():
    messages = [TURNS[0], TURNS[0], TURNS[1], TURNS[1]]
    assert wanted(chat(*messages), order="merge") == chat(*talk("Hi\n\nHi", "Hello\n\nHello"))


def test_both_replies_of_a_preference_keep_what_is_merged_into_them():
    said = chat(*TURNS, {"role": "assistant", "content": "Better"}, rejected="Worse")
    assert wanted(said, order="merge") == chat(*talk("Hi", "Hello\n\nBetter"), rejected="Hello\n\nWorse")


def test_replies_that_a_policy_makes_equal_prefer_nothing():
    said = chat(*talk("Hi", "Ask ann@example.org"), rejected="Ask bob@example.org")
    assert wanted(said) is said
    assert reason(said, pii=["email"]) == "same_reply"
    assert reason(chat(*TURNS, rejected=" \n")) == "empty_text"


def test_personal_data_is_masked_in_every_text_and_counted_by_row():
    effects = Counter()
    text = "ann@example.org or bob@example.org, +49 30 901820, DE89 3704 0044 0532 0130 00"
    said = chat({"role": "system", "content": text}, *talk(text, text), rejected=f"No: {text}")
    masked = "[email] or [email], +49 30 901820, [iban]"
    after = wanted(said, effects, pii=["iban", "email"])
    assert after == chat({"role": "system", "content": masked}, *talk(masked, masked), rejected=f"No: {masked}")
    assert effects == {"email": 1, "iban": 1}
    assert wanted(said) is said


def with_context(pattern_of_turns):
    """As `turns`, where x is the assistant in a turn that is context alone."""
    messages = turns(pattern_of_turns.replace("x", "a"))
    return [
        {**message, "train": False} if sign == "x" else message
        for sign, message in zip(pattern_of_turns, messages, strict=True)
    ]


@pytest.mark.parametrize(
    "before, policy, after",
    [
        ("uxua", {}, "uxua"),
        ("uaux", {}, "ua"),
        ("uxuauxux", {}, "uxua"),
        ("uauxu", {"unanswered": "cut"}, "ua"),
        ("uaxua", {}, "uaxua"),
        ("uxxua", {"order": "merge"}, "uxua"),
    ],
)
def test_replies_that_are_not_learned_stay_before_one_that_is(before, policy, after):
    effects = Counter()
    kept = wanted(chat(*with_context(before)), effects, **policy)["messages"]
    assert [(m["role"][0], "train" in m) for m in kept] == [(sign.replace("x", "a"), sign == "x") for sign in after]
    assert effects["context"] == 1


def test_a_reply_that_is_learned_is_not_merged_with_one_that_is_not():
    assert reason(chat(*with_context("uxaua")), order="merge") == "role_order"
    assert reason(chat(*with_context("uxux"))) == "nothing_to_learn"
    assert reason(chat(*with_context("uaxu"))) == "ends_with_user"
    assert reason(chat(*with_context("ux"), rejected="Go")) == "nothing_to_learn"


@pytest.mark.parametrize("values", product(*map(POLICIES.get, policies.STEPS)))
def test_what_is_in_order_at_a_glance_no_policy_would_change(values):
    policy, effects, in_order = replace(DEFAULT, **dict(zip(policies.STEPS, values, strict=True))), Counter(), 0
    for pattern in chain.from_iterable(product("suatUA", repeat=size) for size in (1, 2, 3)):
        conversation = chat(*turns(pattern))
        if policies.is_in_order(conversation, policy):
            in_order += 1
            assert policies.apply_each(conversation, policy, effects) is conversation
    assert in_order > 1
    assert not effects


@pytest.mark.parametrize(
    "conversation, policy",
    [
        (chat(*talk("a\r\nb", "c")), {}),
        (chat(*talk("a", "c\u200b ")), {"whitespace": "strip"}),
        (chat(*talk("a", "me@example.org")), {"pii": ["email"]}),
        (chat(*talk("a", "b"), rejected="b"), {}),
        (chat(*talk("a"), {"role": "assistant", "content": "b", "train": False}), {}),
        (chat(*talk("a", "b"), tools=[{"type": "function", "function": {"name": "a\r\nb"}}]), {}),
    ],
)
def test_a_glance_is_not_enough_where_a_policy_has_something_to_do(conversation, policy):
    assert not policies.is_in_order(conversation, replace(DEFAULT, **policy))
