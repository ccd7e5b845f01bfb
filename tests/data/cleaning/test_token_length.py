"""No row is longer than a person allows: what does not fit goes, by whole turns or as a row."""

import json
from functools import partial

import pytest
from dialogues import CHATML, ORDINARY, OWN, TEMPLATES, TYPED, dialogue, sentencepiece
from tokenizers import AddedToken, normalizers, pre_tokenizers

from refrain.chat import encoding, model_folder
from refrain.data.cleaning import token_length
from refrain.data.shapes.errors import RowError

CHAT = {
    "id": "0-a.jsonl:1",
    "messages": dialogue("be", "hello?", "the user", "and now?", "there", "why?", "hello " * 9),
}
PAIR = {**CHAT, "id": "0-a.jsonl:2", "rejected": "no"}
TRIMMED = CHATML.replace("message['content']", "(message['content'] | trim)")
JINJA = TEMPLATES | {"own": OWN, "trimmed": TRIMMED, "twice": "{{ messages[0]['content'] }}\n" + CHATML}


def tokens(talk, messages):
    return len(encoding.encode_conversation(talk, messages)["input_ids"])


def refused(talk, row, limit, policy):
    with pytest.raises(RowError) as error:
        token_length.fit_to_limit(talk, row, limit, policy)
    assert error.value.reason == "overlong"
    return str(error.value)


@pytest.mark.parametrize("policy", ["drop", "cut", "fail"])
def test_a_row_that_fits_stays_itself(talk, policy):
    size = tokens(talk, CHAT["messages"])
    row, found = token_length.fit_to_limit(talk, CHAT, size, policy)
    assert row is CHAT and found == size


def test_a_row_that_does_not_fit_is_dropped_with_both_numbers(talk):
    size = tokens(talk, CHAT["messages"])
    assert refused(talk, CHAT, size - 1, "drop") == f"the row has {size} tokens, {size - 1} are allowed"


def test_or_ends_the_run_with_the_way_out(talk):
    size = tokens(talk, CHAT["messages"])
    sentence = (rf"^row 0-a\.jsonl:1: the row has {size} tokens, {size - 1} are allowed; raise data\.max_tokens, or "
                r"set data\.policies\.overlong to drop or cut$")  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        token_length.fit_to_limit(talk, CHAT, size - 1, "fail")


@pytest.mark.parametrize("turns", [3, 5])
def test_a_chat_is_cut_behind_a_reply(talk, turns):
    """The last turns go: no reply that stays has lost what it refers to."""
    most = tokens(talk, CHAT["messages"][: turns + 2]) - 1
    for limit in (tokens(talk, CHAT["messages"][:turns]), most):
        row, size = token_length.fit_to_limit(talk, CHAT, limit, "cut")
        assert row == {**CHAT, "messages": CHAT["messages"][:turns]}
        assert size == tokens(talk, row["messages"]) <= limit
    assert len(CHAT["messages"]) == 7, "the row itself is not touched"


def test_a_chat_is_cut_behind_a_reply_that_is_learned(talk):
    messages = [{**turn, "train": False} if nth == 4 else turn for nth, turn in enumerate(CHAT["messages"])]
    row, _ = token_length.fit_to_limit(talk, {**CHAT, "messages": messages}, tokens(talk, messages) - 1, "cut")
    assert row["messages"] == CHAT["messages"][:3]


@pytest.mark.parametrize("start", [3, 5])
def test_a_preference_loses_its_first_turns(talk, start):
    """For its last reply is what is compared; the system's turn stays."""
    left = [CHAT["messages"][0], *CHAT["messages"][start:]]
    judged, _ = token_length.fit_to_limit(talk, {**CHAT, "label": False}, tokens(talk, left), "cut")
    assert judged["messages"] == left
    row, size = token_length.fit_to_limit(talk, PAIR, tokens(talk, left), "cut")
    assert row == {**PAIR, "messages": left} and size == tokens(talk, left)


def test_a_preference_is_as_long_as_its_longer_side(talk):
    longer = {**PAIR, "rejected": "no " * 99}
    side = [*PAIR["messages"][:-1], {"role": "assistant", "content": longer["rejected"]}]
    assert (
        token_length.fit_to_limit(talk, longer, 10_000, "drop")[1]
        == tokens(talk, side)
        > tokens(talk, PAIR["messages"])
    )


@pytest.mark.parametrize("row", [CHAT, PAIR], ids=["chat", "pair"])
def test_what_fits_in_no_part_is_dropped(talk, row):
    shortest = row["messages"][:3] if row is CHAT else [row["messages"][0], *row["messages"][-2:]]
    limit = tokens(talk, shortest) - 1
    assert refused(talk, row, limit, "cut").endswith(f"{limit} are allowed, and no shorter part of it fits")


@pytest.mark.parametrize("row", [CHAT, PAIR], ids=["chat", "pair"])
def test_a_cut_is_made_between_a_reply_and_a_question(talk, row):
    """However the roles follow each other, what is left begins with the user and ends with a reply."""
    roles = "uuaauaauuua"
    said = {"u": "user", "a": "assistant"}
    odd = {**row, "messages": [{"role": said[role], "content": f"hello {i}"} for i, role in enumerate(roles)]}
    kept = set()
    for limit in range(30, tokens(talk, odd["messages"])):
        try:
            left = token_length.fit_to_limit(talk, odd, limit, "cut")[0]["messages"]
        except RowError:
            continue
        assert (left[0]["role"], left[-1]["role"]) == ("user", "assistant") and tokens(talk, left) <= limit
        at = odd["messages"].index(left[0])
        assert at == 0 or odd["messages"][at - 1]["role"] == "assistant"
        kept.add(len(left))
    assert len(kept) > 1


def test_a_hundred_thousand_turns_are_no_work(talk):
    long = {"id": "0", "messages": dialogue("be", *["hello", "there"] * 50_000)}
    assert refused(talk, long, 64, "drop") == "the row has 50000 tokens or more, 64 are allowed"
    row, size = token_length.fit_to_limit(talk, long, 64, "cut")
    assert size <= 64 < tokens(talk, long["messages"][: len(row["messages"]) + 2])
    assert not token_length.surely_fits(talk, long, 64)


def test_a_row_that_the_template_refuses_is_named(base):
    strict = encoding.load_tokenizer(base, "{{ raise_exception('not me') }}")
    assert not token_length.surely_fits(strict, CHAT, 10_000)
    with pytest.raises(ValueError, match=r"^the chat template refuses .*: not me$"):
        token_length.fit_to_limit(strict, CHAT, 10_000, "drop")


# Without the tokenizer


def spelt(form):
    raw = sentencepiece("first")
    raw.normalizer = form
    return raw


def swallowing():
    raw = sentencepiece("prepended")
    raw.add_special_tokens(
        [AddedToken(f"<|{name}|>", lstrip=True, rstrip=True, normalized=False) for name in ("end", "user")]
    )
    return raw


KINDS = {
    "first": partial(sentencepiece, "first"),
    "prepended": partial(sentencepiece, "prepended"),
    "unigram": partial(sentencepiece, "unigram"),
    "nfkc": lambda: spelt(normalizers.NFKC()),
    "nfd": lambda: spelt(normalizers.NFD()),
    "swallowing": swallowing,
}
TEXTS = [
    ORDINARY,
    TYPED,
    dialogue("a", "b", "c"),
    dialogue("hello", "hello there" * 9, "¤ß"),
    dialogue("\ufdfa" * 9, " \n\u0958", "🙂🙂🙂"),
    dialogue("<|im_", "end|>", "<|end"),
    dialogue("", "\ufb01\u0344\U0001d160", "\u1e9b\u0323" * 5),
]


@pytest.fixture(params=["bytes", *KINDS])
def folder(request, saved, tokenizer):
    if request.param == "bytes":
        return saved(tokenizer, bos_token="<|bos|>", eos_token="<|im_end|>")
    return saved(KINDS[request.param](), bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("jinja", JINJA)
def test_a_bound_is_never_too_low(folder, jinja):
    talk = encoding.load_tokenizer(folder, JINJA[jinja])
    for messages in TEXTS:
        size = tokens(talk, messages)
        assert token_length.token_upper_bound(talk, messages) >= size
        assert not any(
            token_length.surely_fits(talk, {"id": "", "messages": messages}, size - less) for less in (1, 2, 5)
        )


def test_of_bytes_the_bound_is_exact(saved, tokenizer):
    """A tokenizer without merges, and a text between control tokens: as many tokens as bytes."""
    shape = json.loads(tokenizer.to_str())
    shape["model"]["merges"] = []
    talk = encoding.load_tokenizer(
        saved(tokenizer.from_str(json.dumps(shape)), bos_token="<|bos|>", eos_token="<|im_end|>"), OWN
    )
    messages = [{"role": "user", "content": "🙂 a"}, {"role": "assistant", "content": "<|end|> ß\n"}]
    assert token_length.token_upper_bound(talk, messages) == tokens(talk, messages)
    assert token_length.surely_fits(talk, {"id": "", "messages": messages}, tokens(talk, messages))


def test_a_normal_form_that_makes_a_text_longer_is_not_trusted(saved):
    talk = encoding.load_tokenizer(saved(spelt(normalizers.NFKC()), eos_token="</s>"), CHATML)
    long = dialogue("be", "\ufdfa" * 9, "hi")
    assert tokens(talk, long) > len(encoding.render_conversation(talk, long)[0].encode())
    assert token_length.token_upper_bound(talk, long) == float("inf")
    assert token_length.token_upper_bound(talk, dialogue("be", "hello", "hi")) < float("inf")


def test_a_tokenizer_that_puts_blanks_before_words_is_not_trusted(saved, tokenizer):
    spaced, worded = tokenizer.from_str(tokenizer.to_str()), sentencepiece("first")
    spaced.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    always = pre_tokenizers.Metaspace(prepend_scheme="always")
    worded.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), always])
    for raw in (spaced, worded):
        talk = encoding.load_tokenizer(saved(raw), CHATML)
        assert token_length.token_upper_bound(talk, ORDINARY) == float("inf")


def test_a_control_token_of_which_another_may_take_a_part_counts_by_its_bytes(saved, tokenizer):
    raw = tokenizer.from_str(tokenizer.to_str())
    raw.add_tokens([AddedToken("o<|im_end", normalized=False)])
    talk = encoding.load_tokenizer(saved(raw, eos_token="<|im_end|>"), CHATML)
    hello = dialogue("hello", "hello", "hello")
    assert (
        token_length.token_upper_bound(talk, hello)
        == len(encoding.render_conversation(talk, hello)[0].encode())
        >= tokens(talk, hello)
    )


def test_most_rows_need_no_tokenizer(talk, rows):
    assert sum(token_length.surely_fits(talk, row, 128) for row in rows) == len(rows)


@pytest.mark.parametrize(("config", "size"), [({"max_position_embeddings": 7}, 7), ({"n_positions": 9}, 9)])
def test_the_context_is_what_the_model_says(tmp_path, config, size):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_folder.read_context_length(tmp_path) == size
    (tmp_path / "config.json").write_text("{}")
    assert model_folder.read_context_length(tmp_path) > 10**9
