import json
from functools import partial

import pytest
from audited_rows import BORDERS, ROWS
from awkward_templates import PLAIN_QWEN3, QWEN3
from dialogues import CHATML, ORDINARY, OWN, TEMPLATES, dialogue, sentencepiece, with_template
from tokenizers import AddedToken, normalizers
from tool_templates import LOOP, TOOL_TEMPLATES, WEATHER, asks, call, calls, gives, says

from refrain.chat import encoding, examples, model_folder
from refrain.chat.encoding import IGNORE_INDEX
from refrain.training.audit import checks, supervision
from refrain.training.objectives import pairs

ROOM = 10_000
TRIMMED = CHATML.replace("message['content']", "(message['content'] | trim)")
THINKING = CHATML.replace(
    "message['content']", "('-\n' if message['role'] == 'assistant' else '') + message['content']"
)
JINJA = TEMPLATES | {"own": OWN, "trimmed": TRIMMED, "thinking": THINKING}


def normal():
    raw = sentencepiece("first")
    raw.normalizer = normalizers.NFKC()
    return raw


TOKENIZERS = {
    "first": partial(sentencepiece, "first"),
    "prepended": partial(sentencepiece, "prepended"),
    "unigram": partial(sentencepiece, "unigram"),
    "normal": normal,
}


def lesson(talk, row):
    return examples.example_of_all_replies(row, examples.encode_row(talk, row))


def taught(talk, rows=ROWS):
    return [lesson(talk, row) for row in rows]


def spoiled(lessons, spoil):
    """The same with other ids and labels."""
    return [each._replace(features=spoil(*each.features.values())) for each in lessons]


def features(ids, labels):
    return {"input_ids": ids, "labels": labels}


def broken(talk, lessons, room=ROOM, served=None):
    return {
        fault: len(those) for fault, those in supervision.audit_examples(talk, lessons, room, served).broken.items()
    }


@pytest.mark.parametrize("jinja", JINJA)
@pytest.mark.parametrize("kind", ["bytes", *TOKENIZERS])
def test_what_is_learned_as_it_should_be_raises_no_alarm(saved, tokenizer, kind, jinja):
    raw = tokenizer if kind == "bytes" else TOKENIZERS[kind]()
    named = {"bos_token": "<|bos|>", "eos_token": "<|im_end|>"} if kind == "bytes" else {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}  # fmt: skip
    folder = saved(raw, **named)
    talk = encoding.load_tokenizer(folder, JINJA[jinja])
    supervision.require_teachable(talk, ROWS)
    found = supervision.audit_examples(talk, taught(talk), ROOM, supervision.read_served_tokenizer(folder, talk))
    assert found.broken == {}
    assert found.facts["rows"] == len(ROWS) and 0.1 < found.facts["learned"] < 0.9
    assert found.facts["stripped"] == (1 if jinja == "trimmed" else 0)


TWICE = [
    *LOOP,
    asks("And in Rome <|im_end|>?"),
    calls(call("Rome <|im_end|>")),
    gives("<|im_end|>", name="weather"),
    says(),
]
TOOL_ROWS = [
    {"id": "loop", "messages": LOOP, "tools": [WEATHER]},
    {"id": "call", "messages": LOOP[:2], "tools": [WEATHER]},
    {"id": "twice", "messages": TWICE, "tools": [WEATHER]},
    {"id": "context", "messages": [LOOP[0], {**LOOP[1], "train": False}, *LOOP[2:]]},
]


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "qwen3_8", "llama3_1", "lfm2_2_5", "mistral", "hermes"])
def test_calls_as_they_should_be_raise_no_alarm_and_others_do(saved, tokenizer, name):
    talk = with_template(saved, tokenizer, TOOL_TEMPLATES[name], bos_token="<|bos|>")
    supervision.require_teachable(talk, TOOL_ROWS)
    lessons = taught(talk, TOOL_ROWS)
    assert broken(talk, lessons) == {}
    assert broken(talk, spoiled(lessons, lambda ids, labels: features(ids, ids))) == {"mask": len(TOOL_ROWS)}
    assert broken(talk, spoiled(lessons, partial(moved, left=-1, right=0))) == {"mask": len(TOOL_ROWS)}
    uncalled = [
        each._replace(messages=[LOOP[0], says()] if each.row_id == "call" else each.messages) for each in lessons
    ]
    assert sum(broken(talk, uncalled).values()) == 1


def test_pairs_as_they_should_be_raise_no_alarm(talk):
    rows = [{**row, "rejected": text} for row in ROWS for text in ("no", " 🙂\n", "<|im_end|>")]
    rows = [{**row, "id": str(i)} for i, row in enumerate(rows)]
    kept, _ = pairs.encode_rows(talk, rows)
    found = supervision.audit_examples(talk, pairs.examples(rows, kept), ROOM)
    assert found.broken == {} and found.facts["rows"] == len(rows)


def test_control_tokens_that_swallow_blanks_raise_no_alarm(saved):
    """As Phi-3's: the tokenizer drops the white space, so a reply is learned without it."""
    raw = sentencepiece("prepended")
    names = [AddedToken(f"<|{name}|>", lstrip=True, rstrip=True, normalized=False) for name in ("end", "user")]
    raw.add_special_tokens([*names, AddedToken("<|assistant|>", rstrip=True, normalized=False)])
    talk = encoding.load_tokenizer(saved(raw, eos_token="</s>", unk_token="<unk>"), TEMPLATES["phi"])
    assert broken(talk, taught(talk)) == {}


# Planted faults
@pytest.mark.parametrize("jinja", [
    "{% for m in messages %}{{ m.content }}\n{% endfor %}",
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% if m.role != 'assistant' or not loop.last %}<|im_end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
])  # fmt: skip
def test_a_template_without_end_marker_is_named(saved, tokenizer, jinja):
    with pytest.raises(ValueError, match=r"^the chat template puts no end marker after a reply; .*template=chatml; "
                                         r"so it is for 1 row, the first:\n\nordinary\nsystem: Be kind"):  # fmt: skip
        supervision.require_teachable(with_template(saved, tokenizer, jinja), ROWS[:1])


def test_an_end_marker_without_a_label_is_named(talk):
    end = talk.index.special_ids["<|im_end|>"]
    mute = spoiled(taught(talk), lambda ids, labels: features(ids, [IGNORE_INDEX if i == end else i for i in labels]))
    assert broken(talk, mute) == {"end": len(ROWS)}


@pytest.mark.parametrize("jinja", [
    CHATML.replace("in messages", "in messages if message['role'] in ('human', 'assistant', 'system')"),
    CHATML.replace("in messages", "in messages if message['role'] != 'system'"),
], ids=["human", "no system"])  # fmt: skip
def test_a_role_that_the_template_does_not_know_is_named(saved, tokenizer, jinja):
    talk = with_template(saved, tokenizer, jinja)
    supervision.require_teachable(talk, ROWS)
    assert broken(talk, taught(talk)) == {"turns": len(ROWS)}


def test_a_role_that_is_renamed_is_named(saved, tokenizer):
    talk = with_template(saved, tokenizer, CHATML.replace("<|im_start|>assistant", "<|im_start|>bot"))
    with pytest.raises(ValueError, match=r"^turn 5: .*; so it is for 4 rows, the first:\n\nordinary\nsystem: Be"):
        supervision.require_teachable(talk, [*ROWS[:3], {**ROWS[0], "id": "short", "messages": ORDINARY[:3]}])


def moved(ids, labels, left, right):
    """Each stretch of labels with its left end and its right end moved by so many tokens."""
    told = [label != IGNORE_INDEX for label in labels]
    begins = [i for i, on in enumerate(told) if on and not (i and told[i - 1])]
    ends = [i + 1 for i, on in enumerate(told) if on and not (i + 1 < len(told) and told[i + 1])]
    kept = {i for begin, end in zip(begins, ends, strict=True) for i in range(begin + left, end + right)}
    return features(ids, [token if i in kept else IGNORE_INDEX for i, token in enumerate(ids)])


@pytest.mark.parametrize(("left", "right"), [(1, 1), (-1, -1), (-1, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("jinja", ["chatml", "phi", "alpaca"])
def test_a_mask_that_is_off_by_one_is_named(saved, tokenizer, jinja, left, right):
    talk = with_template(saved, tokenizer, TEMPLATES[jinja])
    rows = [row for row in ROWS if row["id"] != "several"]
    off = spoiled(taught(talk, rows), lambda ids, labels: moved(ids, labels, left, right))
    assert broken(talk, off) == {"mask": len(rows)}


def test_labels_that_are_shifted_already_are_named(talk):
    """As for a loss that does not shift them itself."""
    off = spoiled(taught(talk), lambda ids, labels: features(ids, [*labels[1:], IGNORE_INDEX]))
    assert broken(talk, off) == {"mask": len(ROWS)}


def test_a_label_that_is_another_token_is_named(talk):
    off = spoiled(taught(talk), lambda ids, labels: features(ids, [3 if i == 2 else i for i in labels]))
    assert broken(talk, off) == {"mask": len(ROWS)}


def test_a_token_of_a_question_that_is_learned_is_named(talk):
    off = spoiled(taught(talk), lambda ids, labels: features(ids, [*labels[:2], ids[2], *labels[3:]]))
    assert broken(talk, off) == {"mask": len(ROWS)}


def test_a_question_that_is_learned_in_place_of_the_same_reply_is_named(talk):
    row = {"id": "0", "messages": [{"role": role, "content": "hello"} for role in ("user", "assistant")]}
    [whole] = taught(talk, [row])
    ids, end = whole.features["input_ids"], talk.index.special_ids["<|im_end|>"]
    size = sum(label != IGNORE_INDEX for label in whole.features["labels"])
    at = ids.index(end) + 1 - size
    wrong = features(ids, [token if at <= i < at + size else IGNORE_INDEX for i, token in enumerate(ids)])
    assert supervision.audit_examples(talk, [whole], ROOM).broken == {}
    assert broken(talk, [whole._replace(features=wrong)]) == {"mask": 1}


def test_a_blank_that_is_learned_before_a_reply_without_its_own_is_named(base):
    """Where a template drops white space, the words alone do not tell whose it is."""
    talk = encoding.load_tokenizer(base, TRIMMED)
    [whole] = taught(talk, [{"id": "borders", "messages": BORDERS}])
    ids, labels = whole.features.values()
    at = next(i for i, label in enumerate(labels) if label != IGNORE_INDEX)
    wide = features(ids, [*labels[: at - 1], ids[at - 1], *labels[at:]])
    assert talk.tokenizer.decode([ids[at - 1]]) == "\n" and supervision.audit_examples(talk, [whole], ROOM).broken == {}
    assert broken(talk, [whole._replace(features=wide)]) == {"mask": 1}


def test_an_end_marker_that_is_mere_text_is_named(talk):
    """It reads the same, and no model that says it would stop."""
    [whole] = taught(talk, ROWS[:1])
    end, verbatim = (talk.index.special_ids["<|im_end|>"],), talk.index.verbatim
    name = verbatim.encode("<|im_end|>", add_special_tokens=False).ids
    spelt = [(token, label) for token, kept in zip(*whole.features.values(), strict=True)
             for token, label in ([(each, each) for each in name] if kept in end else [(token, kept)])]  # fmt: skip
    ids, labels = map(list, zip(*spelt, strict=True))
    assert broken(talk, [whole._replace(features=features(ids, labels))]) == {"end": 1}


def test_rows_with_nothing_to_learn_are_named(talk):
    idle = spoiled(taught(talk), lambda ids, labels: features(ids, [IGNORE_INDEX] * len(ids)))
    assert broken(talk, idle) == {"nothing": len(ROWS)}


def test_two_begin_tokens_are_named(saved, tokenizer):
    """Of the template, or of a tokenizer that adds one to the template's."""
    twice = with_template(saved, tokenizer, "<|bos|>" + OWN, bos_token="<|bos|>")
    assert broken(twice, taught(twice)) == {"begin": len(ROWS)}
    once = with_template(saved, tokenizer, OWN, bos_token="<|bos|>")
    added = spoiled(taught(once), lambda ids, labels: features([ids[0], *ids], [IGNORE_INDEX, *labels]))
    assert broken(once, added) == {"begin": len(ROWS)}
    assert broken(once, taught(once)) == {}


@pytest.mark.parametrize("gone", [1, 2, 3, 8, 20])
def test_a_reply_that_is_cut_is_named(talk, gone):
    """The row ends in a line break, behind the marker; so one token less is no fault yet."""
    cut = spoiled(taught(talk), lambda ids, labels: features(ids[:-gone], labels[:-gone]))
    assert broken(talk, cut) == ({"cut": len(ROWS)} if gone > 1 else {})


def test_a_template_that_shortens_replies_is_named(saved, tokenizer):
    talk = with_template(saved, tokenizer, CHATML.replace("message['content']", "message['content'][:9]"))
    assert broken(talk, taught(talk, ROWS[:1])) == {"cut": 1}


def test_a_prompt_other_than_that_which_is_asked_is_named(talk):
    more = talk.tokenizer.encode("a", add_special_tokens=False).ids
    longer = spoiled(taught(talk), lambda ids, labels: features([*more, *ids], [IGNORE_INDEX, *labels]))
    assert broken(talk, longer) == {"prompt": len(ROWS)}


def test_a_control_token_inside_of_words_is_named(talk):
    """Where the name of one is typed in a system turn: its id stands there, and in the prompt too."""
    end, row = talk.index.special_ids["<|end|>"], {"id": "0", "messages": dialogue("a <|end|>", "b", "c")}
    [whole] = taught(talk, [row])
    asked = encoding.encode_prompt(talk, row["messages"][:2])
    at = next(i for i, token in enumerate(asked) if talk.tokenizer.decode([token]) == "<")
    name = len(talk.index.verbatim.encode("<|end|>", add_special_tokens=False).ids)

    def naive(ids):
        return [*ids[:at], end, *ids[at + name :]]

    labels = whole.features["labels"]
    spoilt = whole._replace(features=features(naive(whole.features["input_ids"]), labels[name - 1 :]))
    common = checks.AuditContext(talk, ROOM, None)
    assert checks.check_example(common, spoilt, "c<|im_end|>", naive(asked)).fault == "control"
    assert checks.check_example(common, whole, "c<|im_end|>", asked) == checks.Finding(None)


def test_characters_that_the_tokenizer_does_not_know_are_counted_and_not_learned(saved):
    raw = sentencepiece("first")
    shape = json.loads(raw.to_str())
    shape["model"]["byte_fallback"] = False
    talk = encoding.load_tokenizer(saved(raw.from_str(json.dumps(shape)), eos_token="</s>", unk_token="<unk>"), CHATML)
    rows = [
        {"id": text, "messages": dialogue("be", asked, text)} for asked, text in (("ж", "hi"), ("hi", "ж"), ("a", "b"))
    ]
    found = supervision.audit_examples(talk, taught(talk, rows), ROOM)
    assert {fault: [each.row_id for each in those] for fault, those in found.broken.items()} == {"unknown": ["ж"]}
    assert found.facts["unknown"] == 3, "it does not know the line breaks of the template"


def test_rows_longer_than_the_model_sees_are_named(talk):
    sizes = [len(each.features["input_ids"]) for each in taught(talk)]
    assert broken(talk, taught(talk), max(sizes)) == {}
    assert broken(talk, taught(talk), max(sizes) - 1) == {"long": sizes.count(max(sizes))}


def test_a_model_that_is_served_with_another_template_is_named(base, talk, tmp_path):
    model_folder.copy_tokenizer(base, tmp_path, talk.template)
    assert broken(talk, taught(talk), served=encoding.load_tokenizer(tmp_path)) == {}
    (tmp_path / "chat_template.jinja").write_text(CHATML.replace("assistant\\n", "assistant: "))
    assert encoding.load_tokenizer(tmp_path).template != talk.template
    assert broken(talk, taught(talk), served=encoding.load_tokenizer(tmp_path)) == {"served": len(ROWS)}


def test_a_model_that_is_served_with_another_tokenizer_is_named_where_it_matters(base, talk, tmp_path):
    model_folder.copy_tokenizer(base, tmp_path, talk.template)
    shape = json.loads((tmp_path / "tokenizer.json").read_text())
    shape["model"]["merges"] = [merge for merge in shape["model"]["merges"] if "hello" not in "".join(merge)]
    (tmp_path / "tokenizer.json").write_text(json.dumps(shape))
    rows = [{"id": text, "messages": dialogue("be", text, "hi")} for text in ("hello there", "why")]
    found = supervision.audit_examples(talk, taught(talk, rows), ROOM, encoding.load_tokenizer(tmp_path))
    assert [each.row_id for each in found.broken["served"]] == ["hello there"]


def as_context(messages, nth):
    """The same conversation, of which one turn is not to be learned."""
    return [*messages[:nth], {**messages[nth], "train": False}, *messages[nth + 1 :]]


@pytest.mark.parametrize("jinja", JINJA)
def test_a_reply_that_is_context_alone_is_held_to_teach_nothing(saved, tokenizer, jinja):
    talk = with_template(saved, tokenizer, JINJA[jinja], bos_token="<|bos|>")
    rows = [{**row, "messages": as_context(row["messages"], 2)} for row in ROWS]
    assert all(row["messages"][2]["role"] == "assistant" for row in rows)
    assert broken(talk, taught(talk, rows)) == {}
    pairs_of_examples = zip(taught(talk, rows), taught(talk), strict=True)
    assert broken(talk, [context._replace(features=whole.features) for context, whole in pairs_of_examples]) == {
        "mask": len(rows)
    }


@pytest.mark.parametrize("jinja", [QWEN3, PLAIN_QWEN3])
@pytest.mark.parametrize("reply", [None, "<think>\nwell\n</think>\n\nhi"], ids=["plain", "thoughts"])
def test_thoughts_that_a_template_drops_from_earlier_replies_raise_no_alarm_and_are_counted(
    saved, tokenizer, jinja, reply
):
    folder = saved(tokenizer, eos_token="<|im_end|>", chat_template=jinja)
    rows = [row for row in ROWS if row["id"] != "several"]
    if reply:
        rows = [{**row, "messages": [*row["messages"][:-1], {"role": "assistant", "content": reply}]} for row in rows]
    talk = encoding.ask_with_opening(encoding.load_tokenizer(folder), rows)
    found = supervision.audit_examples(talk, taught(talk, rows), ROOM, supervision.read_served_tokenizer(folder, talk))
    assert found.broken == {}
    assert found.facts["rewritten"] == sum(len(row["messages"]) > 3 for row in rows) > 0


def test_a_mask_that_is_off_by_one_is_named_behind_what_a_template_writes_itself(saved, tokenizer):
    rows = [{"id": "one", "messages": ORDINARY[:3]}]
    talk = encoding.ask_with_opening(with_template(saved, tokenizer, QWEN3), rows)
    assert broken(talk, taught(talk, rows)) == {}
    for left in (-1, 1):
        off = spoiled(taught(talk, rows), lambda ids, labels, left=left: moved(ids, labels, left, 0))
        assert broken(talk, off) == {"mask": 1}


def test_a_greeting_that_is_not_learned_raises_no_alarm(saved, tokenizer):
    greeted = [{"role": "assistant", "content": "hello"}, *ORDINARY[1:]]
    rows = [{"id": "greeted", "messages": greeted}]
    for jinja, rewritten in ((CHATML, 0), ("{% if messages[0].role == 'tool' %}{% endif %}" + CHATML, 1)):
        talk = with_template(saved, tokenizer, jinja)
        found = supervision.audit_examples(talk, taught(talk, rows), ROOM)
        assert (found.broken, found.facts["rewritten"]) == ({}, rewritten)
