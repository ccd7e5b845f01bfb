import pytest
from preference_pairs import ROWS, objective

from refrain.chat import encoding
from refrain.chat.encoding import IGNORE_INDEX


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
    kept, left_out = objective("sigmoid").encode_rows(talk, [rows[0], *ROWS, rows[1]])
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


def test_data_without_a_pair_stops_with_the_way_out(talk, rows):
    learned = objective("sigmoid")
    with pytest.raises(ValueError, match=r"^data/prepared/train\.jsonl: none of 16 rows has a rejected reply; "
                                         r"choose method=lora, or a source with chosen and rejected$"):  # fmt: skip
        learned.require_rows(rows, learned.encode_rows(talk, rows)[0])
    learned.require_rows([*rows, ROWS[0]], learned.encode_rows(talk, [*rows, ROWS[0]])[0])


def test_a_pair_that_the_template_refuses_is_refused_in_its_words(base):
    strict = encoding.load_tokenizer(base, "{{ raise_exception('not me') }}")
    with pytest.raises(ValueError, match=r"^the chat template refuses a conversation of user, assistant: not me$"):
        objective("sigmoid").encode_rows(strict, ROWS)
