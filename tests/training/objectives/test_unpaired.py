"""Replies that are good or bad, each by itself, with a reply to another prompt beside it."""

import pytest
from preference_pairs import JUDGED, LONG, ROWS, judged_row, objective, paired_row

from refrain.chat import encoding
from refrain.chat.encoding import IGNORE_INDEX
from refrain.training.objectives import logprobs, pairs

TWINS = [judged_row("one", ["user: hello"], "the", True), judged_row("two", ["user: hello"], "a", False)]
KTO = objective("kto")


def replied(text):
    return [label for label in text["labels"] if label != IGNORE_INDEX]


def prompt_ids_of(text):
    return text["input_ids"][: pairs.prompt_length(text)]


def test_rows_with_a_label_and_both_sides_of_pairs_are_learned_and_others_are_named(talk, rows):
    given = [rows[0], JUDGED[1], ROWS[0], JUDGED[0], rows[1]]
    kept, left_out = KTO.encode_rows(talk, given)
    assert left_out == {"unlabelled": [rows[0]["id"], rows[1]["id"]]}
    assert [reply.is_desirable for reply in kept] == [False, True, False, True]
    said = [talk.tokenizer.decode(replied(reply.features), skip_special_tokens=False) for reply in kept]
    assert said == [f"{text}<|im_end|>" for text in ("the user and the assistant", "hello there", "não", "hello there")]
    taught = KTO.examples(given, kept)
    assert [example.row_id for example in taught] == ["bad", "plain", "plain", "good"]
    assert [example.messages[-1]["content"] + "<|im_end|>" for example in taught] == said
    assert [example.features for example in taught] == [reply.features for reply in kept]


def test_the_last_reply_alone_is_labelled(talk):
    kept, _ = KTO.encode_rows(talk, JUDGED)
    for row, reply in zip(JUDGED, kept, strict=True):
        start = encoding.encode_prompt(talk, row["messages"][:-1])
        assert prompt_ids_of(reply.features) == start
        assert replied(reply.features) == reply.features["input_ids"][len(start) :][: len(replied(reply.features))]


def test_a_stranger_is_the_reply_before(talk):
    """Which is TRL's rotation by one."""
    kept, _ = KTO.encode_rows(talk, [*JUDGED, LONG])
    for before, reply in zip([kept[-1], *kept], kept, strict=False):
        assert prompt_ids_of(reply.kl_example) == prompt_ids_of(reply.features)
        assert replied(reply.kl_example) == replied(before.features)


def test_strangers_of_pairs_are_the_replies_of_the_pair_before(talk):
    kept, _ = KTO.encode_rows(talk, [*ROWS, paired_row("long", ["user: hello?"], "hello there " * 9, "a")])
    for before, reply in zip([*kept[-2:], *kept], kept, strict=False):
        assert prompt_ids_of(reply.kl_example) == prompt_ids_of(reply.features)
        assert replied(reply.kl_example) == replied(before.features)


@pytest.mark.parametrize(
    "data", [[*TWINS, *JUDGED[:2]], [JUDGED[0], *TWINS, JUDGED[1]], [TWINS[0], *ROWS[:2], TWINS[1]]]
)
def test_no_stranger_is_of_the_same_prompt_and_each_reply_is_given_once(talk, data):
    kept, _ = KTO.encode_rows(talk, [*data, LONG])
    prompt_of = {tuple(replied(reply.features)): prompt_ids_of(reply.features) for reply in kept}
    assert len(prompt_of) == len(kept) > 3
    given = [tuple(replied(reply.kl_example)) for reply in kept]
    assert sorted(given) == sorted(prompt_of)
    assert all(prompt_of[text] != prompt_ids_of(reply.features) for text, reply in zip(given, kept, strict=True))


def test_where_most_prompts_are_one_there_are_strangers_still(talk):
    more = judged_row("three", ["user: hello"], "hello there", True)
    for data in (TWINS, TWINS[:1], [*TWINS, more, LONG]):
        kept, _ = KTO.encode_rows(talk, data)
        given = [replied(reply.kl_example) for reply in kept]
        assert sorted(given) == sorted(replied(reply.features) for reply in kept)
        assert len(data) == 1 or all(replied(reply.features) != text for text, reply in zip(given, kept, strict=True))


def test_a_stranger_is_no_longer_than_the_longest_text_and_something_of_the_reply_is_left(talk):
    """A long prompt gets the long reply of another, just as long as the longest text."""
    data = [judged_row("asks", ["user: " + "🙂" * 20], "a", True), judged_row("tells", ["user: ?"], "🙂" * 19, False)]
    kept, _ = KTO.encode_rows(talk, data)
    longest = max(len(reply.features["input_ids"]) for reply in kept)
    text = kept[0].kl_example
    assert len(text["input_ids"]) == len(text["labels"]) == longest
    assert 0 < logprobs.count_labels(text) < 19
