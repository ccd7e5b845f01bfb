"""Rows as numbers: sets of n-grams without symbols, and a key for each question that a turn may ask."""

import numpy as np

from refrain.data.splitting import shingles
from refrain.data.splitting.wordings import Wordings


def build(*rows):
    wordings = Wordings()
    for prompt, *replies in rows:
        wordings.add([("user", "assistant")[n % 2] for n in range(len(prompt))], prompt, replies)
    columns, files = wordings.build(3)
    ends = np.cumsum(columns["turn_keys"])
    keys = np.split(files["turn_keys"], ends[:-1])
    ngrams = np.split(files["ngrams"], np.cumsum(columns["ngrams"])[:-1])
    return columns, [set(each.tolist()) for each in keys], ngrams


def key(text):
    return int(build(([text], "y"))[0]["question"][0])


def test_a_row_may_ask_each_turn_each_beginning_and_what_follows_a_greeting():
    turns = ["good day to you what is it", "b c", "d e f"]
    row = build((["z"], "z"), (turns, "g h i j k l m", "n"))[1][1]
    asked = ["b c", "d e f", "g h i j k l m", "n", "good day to you what is it b c d e f", turns[0]]
    asked += ["day to you what is it", "to you what is it", "you what is it"]
    assert row == set(map(key, asked))


def test_a_key_is_that_of_its_words_wherever_they_stand():
    assert key("what is it") == key("What, is it?".lower()) != key("what is what")
    assert len({key(" ".join("a" * n)) for n in range(1, 50)}) == 49


def test_ngrams_pass_over_symbols_and_chats_have_those_of_the_user_too():
    columns, _, (one, chat, short) = build(
        (["a + b c d e f"], "x"), (["a b c", "z z", "d e f"], "x"), (["a b c d"], "x")
    )
    words = shingles.hash_words(["a b c d e f"])[0]
    expected = np.sort(shingles.all_shingles(words, 5) >> shingles.SET_BITS)
    assert one.tolist() == expected.tolist() == chat[columns["prompt_ngrams"][1] :].tolist()
    assert columns["prompt_ngrams"].tolist() == [2, 4, 0] and not len(short)
    assert columns["is_chat"].tolist() == [False, True, False]


def test_the_last_question_of_a_chat_counts_from_eight_words_on():
    seven, eight = "a b c d e f g", "a b c d e f g h"
    columns = build((["x", "y", seven], "z"), (["x", "y", eight], "z"), ([eight], "z"))[0]
    assert columns["last_question"].tolist() == [0, key(eight), 0]
