import pytest
from preference_pairs import ROWS, objective, paired_row, sides

from refrain.chat import encoding
from refrain.chat.encoding import IGNORE_INDEX
from refrain.training.objectives import logprobs, pairs, sft

TWINS = [paired_row("one", ["user: hello"], "the", "a"), paired_row("two", ["user: hello"], "hello", "b")]


def test_only_the_last_reply_is_labelled(talk):
    kept, left_out = objective("sigmoid").encode_rows(talk, ROWS)
    assert left_out == {"unpaired": []} and len(kept) == len(ROWS)
    for row, pair in zip(ROWS, kept, strict=True):
        *asked_before, better = row["messages"]
        start = encoding.encode_prompt(talk, asked_before)
        for side, said in ((pair.chosen, better["content"]), (pair.rejected, row["rejected"])):
            assert side["input_ids"][: len(start)] == start
            labels = [label for label in side["labels"] if label != IGNORE_INDEX]
            assert (
                side["labels"][: len(start)] == [IGNORE_INDEX] * len(start)
                and side["labels"][len(start)] != IGNORE_INDEX
            )
            assert talk.tokenizer.decode(labels, skip_special_tokens=False) == f"{said}<|im_end|>"


def test_rows_that_are_no_pairs_are_named(talk, rows):
    kept, left_out = objective("kto").encode_rows(talk, [rows[0], *ROWS, rows[1]])
    assert left_out == {"unpaired": [rows[0]["id"], rows[1]["id"]]} and len(kept) == len(ROWS)


def test_both_sides_are_taught_with_their_last_reply(talk, rows):
    learned = objective("sigmoid")
    kept, _ = learned.encode_rows(talk, [rows[0], *ROWS])
    taught = learned.examples([rows[0], *ROWS], kept)
    assert [lesson.row_id for lesson in taught] == [name for row in ROWS for name in (row["id"],) * 2]
    assert [lesson.features for lesson in taught] == [side for pair in kept for side in (pair.chosen, pair.rejected)]
    for row, chosen, rejected in zip(ROWS, taught[::2], taught[1::2], strict=True):
        assert (chosen.messages, chosen.messages[:-1]) == (row["messages"], rejected.messages[:-1])
        assert rejected.messages[-1]["content"] == row["rejected"]
        assert chosen.learned_turns == rejected.learned_turns == [len(row["messages"]) - 1]


def test_a_stranger_is_no_longer_than_the_longest_text_and_something_of_the_reply_is_left(talk):
    """A long prompt gets the long replies of another, each side by itself just as long as the longest."""
    data = [
        paired_row("asks", ["user: " + "🙂" * 20], "a", "b"),
        paired_row("tells", ["user: ?"], "🙂" * 19, "🙂" * 18),
    ]
    longest = max(len(side["input_ids"]) for side in sides([pairs.encode_pair(talk, each) for each in data]))
    kept, _ = objective("kto").encode_rows(talk, data)
    assert [len(text["input_ids"]) for text in kept[0].kl_examples] == [longest, longest]
    for text in kept[0].kl_examples:
        assert len(text["labels"]) == longest and 0 < logprobs.count_labels(text) < 19


def test_data_without_a_pair_stops_with_the_way_out(talk, rows):
    learned = objective("sigmoid")
    with pytest.raises(ValueError, match=r"^data/prepared/train\.jsonl: none of 16 rows has a rejected reply; "
                                         r"choose method=lora, or a source with chosen and rejected$"):  # fmt: skip
        pairs.require_pairs(*learned.encode_rows(talk, rows))
    for some in (sft.encode_rows(talk, rows), learned.encode_rows(talk, [*rows, ROWS[0]])):
        pairs.require_pairs(*some)


def test_a_pair_that_the_template_refuses_is_refused_in_its_words(base):
    strict = encoding.load_tokenizer(base, "{{ raise_exception('not me') }}")
    with pytest.raises(ValueError, match=r"^the chat template refuses a conversation of user, assistant: not me$"):
        objective("sigmoid").encode_rows(strict, ROWS)


def replied(text):
    return [label for label in text["labels"] if label != IGNORE_INDEX]


def prompted(text):
    return text["input_ids"][: pairs.prompt_length(text)]


def test_strangers_are_the_replies_of_the_pair_before(talk):
    """Which is TRL's rotation by one, of the chosen and of the rejected replies."""
    kept, _ = objective("kto").encode_rows(talk, [*ROWS, paired_row("long", ["user: hello?"], "hello there " * 9, "a")])
    for before, pair in zip([kept[-1], *kept], kept, strict=False):
        assert [prompted(text) for text in pair.kl_examples] == [prompted(pair.chosen)] * 2
        assert [replied(text) for text in pair.kl_examples] == [replied(before.chosen), replied(before.rejected)]


@pytest.mark.parametrize("data", [[*TWINS, ROWS[0]], [ROWS[0], *TWINS], [TWINS[0], ROWS[0], TWINS[1]]])
def test_a_stranger_is_none_of_the_same_prompt(talk, data):
    kept, _ = objective("kto").encode_rows(talk, data)
    prompts = {tuple(replied(side)): prompted(side) for pair in kept for side in (pair.chosen, pair.rejected)}
    assert len(prompts) == 6
    assert all(prompts[tuple(replied(text))] != prompted(text) for pair in kept for text in pair.kl_examples)


def test_where_all_prompts_are_one_there_are_strangers_still(talk):
    for data in (TWINS, TWINS[:1]):
        kept, _ = objective("kto").encode_rows(talk, data)
        assert [len(pair.kl_examples) for pair in kept] == [2] * len(data)
