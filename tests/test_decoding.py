import random
from itertools import cycle, islice

import numpy as np
import pytest
import tiny_onnx
from tokenizers import AddedToken, Tokenizer, decoders, models

from refrain import decoding, runtime

NONE = frozenset()
TEXT = "né 😀 👩‍🚀 naïve 東京 end"
END = 258


class Counter:
    """A language model that always says the next number, and remembers how often it was asked."""

    def __init__(self):
        self.calls = []

    def forward(self, ids, mask, cache):
        assert mask.shape[1] == (cache or 0) + ids.shape[1]
        self.calls.append(ids.tolist())
        return np.eye(100, dtype=np.float32)[ids + 1], mask.shape[1]


def argmax(logits):
    return int(logits.argmax())


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return runtime.Session(tiny_onnx.build(tmp_path_factory.getbasetemp() / "tiny"), threads=1)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_onnx.tokenizer()


def test_a_reply_stops_before_its_first_end():
    assert decoding.greedy(Counter(), [[3], [1, 2, 3], [50]], 4, frozenset({6})) == [
        [4, 5],
        [4, 5],
        [51, 52, 53, 54],
    ]


def test_without_ends_every_reply_has_the_full_length():
    assert [len(reply) for reply in decoding.greedy(Counter(), [[3], [1, 2]], 7, NONE)] == [7, 7]


def test_decoding_stops_when_every_row_has_ended():
    lm = Counter()
    decoding.greedy(lm, [[3], [1, 2]], 50, frozenset({6}))
    assert len(lm.calls) == 4, "the slower row says 3, 4, 5 and its end"


def test_only_the_prompt_and_then_single_ids_are_fed():
    lm = Counter()
    decoding.greedy(lm, [[7], [1, 2, 3]], 3, NONE)
    assert lm.calls == [[[0, 0, 7], [1, 2, 3]], [[8], [4]], [[9], [5]]]


def test_no_prompts_give_no_replies():
    assert decoding.greedy(Counter(), [], 5, NONE) == []


def test_an_empty_prompt_is_refused_by_its_number():
    with pytest.raises(ValueError, match=r"^prompt 2: it has no ids; "):
        decoding.greedy(Counter(), [[1], []], 5, NONE)


def test_a_stream_is_what_greedy_says():
    assert list(decoding.stream(Counter(), [3], 9, frozenset({7}), argmax)) == [4, 5, 6]
    assert list(decoding.stream(Counter(), [3], 2, frozenset({7}), argmax)) == [4, 5]


def test_a_stream_asks_for_no_id_before_it_is_wanted():
    lm = Counter()
    stream = decoding.stream(lm, [3], 9, NONE, argmax)
    assert len(lm.calls) == 0
    assert (next(stream), len(lm.calls)) == (4, 1)


def test_a_left_padded_row_says_what_it_says_alone(session):
    prompts = [[5], [200, 7, 7, 31], list(range(40))]
    together = decoding.greedy(session, prompts, 20, NONE)
    assert together == [decoding.greedy(session, [prompt], 20, NONE)[0] for prompt in prompts]
    assert together == [list(decoding.stream(session, prompt, 20, NONE, argmax)) for prompt in prompts]
    assert len({tuple(reply) for reply in together}) == 3


def test_the_cache_changes_nothing_that_is_said(session):
    ids = [200, 7, 7, 31]
    for _ in range(20):
        logits, _ = session.forward(np.array([ids]), np.ones((1, len(ids)), dtype=np.int64), None)
        ids.append(argmax(logits[0, -1]))
    assert decoding.greedy(session, [ids[:4]], 20, NONE) == [ids[4:]]


def test_a_row_that_ended_does_not_disturb_the_others(session):
    prompts = [[5], [200, 7, 7, 31]]
    first, second = decoding.greedy(session, prompts, 20, NONE)
    end = next(token for token in first if token not in second)
    assert decoding.greedy(session, prompts, 20, frozenset({end})) == [first[: first.index(end)], second]


def test_emoji_and_accents_come_whole(tokenizer):
    ids = tokenizer.encode(TEXT).ids
    assert len(ids) == len(TEXT.encode()) > len(TEXT), "each byte is an id of its own"
    assert list(decoding.text(ids, tokenizer)) == list(TEXT)


def test_a_character_that_was_cut_short_is_left_out(tokenizer):
    assert "".join(decoding.text(tokenizer.encode("oh 😀").ids[:-1], tokenizer)) == "oh "


def test_special_tokens_are_no_text(tokenizer):
    ids = [END, *tokenizer.encode("né").ids, END - 1, *tokenizer.encode("!").ids]
    assert "".join(decoding.text(ids, tokenizer)) == "né!"


def test_any_bytes_at_all_become_the_text_that_they_are(tokenizer):
    rng = random.Random(0)
    for _ in range(200):
        ids = [rng.randrange(259) for _ in range(40)]
        streamed = "".join(decoding.text(ids, tokenizer))
        whole = tokenizer.decode(ids)
        assert whole.startswith(streamed) and not whole[len(streamed) :].strip("\ufffd")


def test_words_keep_the_spaces_between_them():
    metaspace = Tokenizer(models.WordLevel({"▁two": 0, "▁words": 1, "</s>": 2}, unk_token="</s>"))
    metaspace.decoder = decoders.Metaspace()
    metaspace.add_special_tokens([AddedToken("</s>")])
    assert list(decoding.text([0, 1, 2, 0], metaspace)) == ["two", " words", " two"]


def test_a_stop_string_across_token_borders_ends_the_text(tokenizer):
    ids = tokenizer.encode("one\nUser: two").ids
    assert "".join(decoding.text(ids, tokenizer, ["\nUser:"])) == "one"


def test_nothing_is_read_after_a_stop_string(tokenizer):
    letters = islice(cycle(tokenizer.encode("ab!").ids), 100)
    assert "".join(decoding.text(letters, tokenizer, ["!ab!"])) == "ab"
    assert len(list(letters)) == 94


def test_what_only_looked_like_a_stop_string_is_said(tokenizer):
    ids = tokenizer.encode("a\nUs, a\nUse").ids
    assert "".join(decoding.text(ids, tokenizer, ["\nUser:"])) == "a\nUs, a\nUse"


def test_text_waits_only_while_it_may_begin_a_stop_string():
    assert list(decoding.before("say <b> 1<2 </s> more", ["</s>"])) == [*"say ", "<b", *"> 1", "<2", " "]


def test_how_text_is_cut_into_pieces_makes_no_difference():
    rng = random.Random(0)
    for _ in range(500):
        whole = "".join(rng.choices("ab", k=12))
        stops = ["".join(rng.choices("ab", k=rng.randint(2, 5))) for _ in range(rng.randint(0, 3))]
        cuts = sorted(rng.sample(range(1, 12), 3))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, 12], strict=True)]
        said = "".join(decoding.before([whole], stops))
        assert "".join(decoding.before(pieces, stops)) == said == "".join(decoding.before(whole, stops))
        assert whole.startswith(said) and not any(stop in said for stop in stops)


def test_the_stop_string_that_is_complete_first_ends_the_text():
    assert "".join(decoding.before(["-abcd-"], ["abcd", "bc"])) == "-a"
