"""Text as it comes: whole characters, up to the first stop string."""

import random
from itertools import cycle, islice

import pytest
import traced_model
from tokenizers import AddedToken, Tokenizer, decoders, models

from refrain.runtime import detokenizer
from refrain.runtime.detokenizer import Detokenizer

TEXT = "né 😀 👩‍🚀 naïve 東京 end"
END = 258


@pytest.fixture(scope="module")
def tokenizer():
    return traced_model.tokenizer()


@pytest.fixture(scope="module")
def letters():
    """One id for each character and for some longer pieces, so tests can cut a text wherever they like."""
    pieces = [*"ab <>/sme!12", "</s", "> 1", "<2 ", "sa", "abab", "ba"]
    raw = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="!"))
    raw.decoder = decoders.Fuse()
    return raw


def pushed(ids, tokenizer, stops=()):
    """What each token makes certain, then what waited."""
    reply = Detokenizer(tokenizer, stops)
    return [*map(reply.push, ids), reply.flush()]


def numbers(pieces, letters):
    return [letters.token_to_id(piece) for piece in pieces]


def test_emoji_and_accents_come_whole(tokenizer):
    ids = tokenizer.encode(TEXT).ids
    assert len(ids) == len(TEXT.encode()) > len(TEXT), "each byte is an id of its own"
    assert list(detokenizer.detokenize(ids, tokenizer)) == list(TEXT)


def test_a_character_comes_with_its_last_byte_and_not_before(tokenizer):
    assert pushed(tokenizer.encode("é😀").ids, tokenizer) == ["", "é", "", "", "", "😀", ""]


def test_a_character_that_was_cut_short_is_left_out(tokenizer):
    assert "".join(detokenizer.detokenize(tokenizer.encode("oh 😀").ids[:-1], tokenizer)) == "oh "


def test_special_tokens_are_no_text(tokenizer):
    ids = [END, *tokenizer.encode("né").ids, END - 1, *tokenizer.encode("!").ids]
    assert "".join(detokenizer.detokenize(ids, tokenizer)) == "né!"


def test_ids_that_the_tokenizer_does_not_have_are_no_text(tokenizer):
    assert "".join(detokenizer.detokenize([300, *tokenizer.encode("né").ids, 300], tokenizer)) == "né"


def test_any_bytes_at_all_become_the_text_that_they_are(tokenizer):
    rng = random.Random(0)
    for _ in range(200):
        ids = [rng.randrange(259) for _ in range(40)]
        streamed = "".join(detokenizer.detokenize(ids, tokenizer))
        whole = tokenizer.decode(ids)
        assert whole.startswith(streamed) and not whole[len(streamed) :].strip("\ufffd")


def test_words_keep_the_spaces_between_them():
    metaspace = Tokenizer(models.WordLevel({"▁two": 0, "▁words": 1, "</s>": 2}, unk_token="</s>"))
    metaspace.decoder = decoders.Metaspace()
    metaspace.add_special_tokens([AddedToken("</s>")])
    assert list(detokenizer.detokenize([0, 1, 2, 0], metaspace)) == ["two", " words", " two"]


def test_a_stop_string_across_token_borders_ends_the_text(tokenizer):
    ids = tokenizer.encode("one\nUser: two").ids
    assert "".join(detokenizer.detokenize(ids, tokenizer, ["\nUser:"])) == "one"


def test_a_stop_string_may_be_a_character_of_many_bytes(tokenizer):
    ids = tokenizer.encode("one 東京 two").ids
    assert "".join(detokenizer.detokenize(ids, tokenizer, ["東"])) == "one "


def test_nothing_is_read_after_a_stop_string(tokenizer):
    endless = islice(cycle(tokenizer.encode("ab!").ids), 100)
    assert "".join(detokenizer.detokenize(endless, tokenizer, ["!ab!"])) == "ab"
    assert len(list(endless)) == 94


def test_after_a_stop_string_nothing_more_is_said(tokenizer):
    reply = Detokenizer(tokenizer, ["b"])
    said = [reply.push(token) for token in tokenizer.encode("abcd").ids]
    assert (said, reply.has_stopped, reply.flush()) == (["a", "", "", ""], True, "")


def test_what_only_looked_like_a_stop_string_is_said(tokenizer):
    ids = tokenizer.encode("a\nUs, a\nUse").ids
    assert "".join(detokenizer.detokenize(ids, tokenizer, ["\nUser:"])) == "a\nUs, a\nUse"


def test_what_waited_is_given_at_the_end_and_once(tokenizer):
    reply = Detokenizer(tokenizer, ["\nUser:"])
    assert [reply.push(token) for token in tokenizer.encode("a\nUs").ids] == ["a", "", "", ""]
    assert (reply.flush(), reply.flush(), reply.has_stopped) == ("\nUs", "", False)


def test_text_waits_only_while_it_may_begin_a_stop_string(letters):
    ids = numbers(["sa", " ", "<", "b", "> 1", "<2 ", "</s", "> 1"], letters)
    assert pushed(ids, letters, ["</s>"]) == ["sa", " ", "", "<b", "> 1", "<2 ", "", "", ""]


def test_how_text_is_cut_into_tokens_makes_no_difference(letters):
    rng = random.Random(0)
    for _ in range(500):
        pieces = rng.choices(["a", "b", "ba", "abab"], k=6)
        stops = ["".join(rng.choices("ab", k=rng.randint(2, 5))) for _ in range(rng.randint(0, 3))]
        whole = "".join(pieces)
        said = "".join(detokenizer.detokenize(numbers(pieces, letters), letters, stops))
        assert said == "".join(detokenizer.detokenize(numbers(whole, letters), letters, stops))
        assert whole.startswith(said) and not any(stop in said for stop in stops)
        assert (said == whole) is not any(stop in whole for stop in stops)


@pytest.mark.parametrize("pieces", [list("mababm"), ["m", "abab", "m"]])
def test_the_stop_string_that_is_complete_first_ends_the_text(pieces, letters):
    assert "".join(detokenizer.detokenize(numbers(pieces, letters), letters, ["abab", "ba"])) == "ma"
    assert "".join(detokenizer.detokenize(numbers(pieces, letters), letters, ["bab", "abab"])) == "m", (
        "of two the longer"
    )
