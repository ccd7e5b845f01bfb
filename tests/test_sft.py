import pytest
import torch
from transformers import AutoModelForCausalLM

from refrain import chat, sft

IGNORE = chat.IGNORE


@pytest.fixture(scope="module")
def model(base):
    return AutoModelForCausalLM.from_pretrained(base).eval()


def loss(model, batch):
    with torch.no_grad():
        return model(**batch).loss.item()


def test_overlong_rows_are_named_and_left_out(talk, rows):
    whole = [chat.features(talk, row["messages"]) for row in rows]
    limit = sorted(len(each["input_ids"]) for each in whole)[8]
    kept, overlong = sft.features(talk, rows, limit)
    assert kept == [each for each in whole if len(each["input_ids"]) <= limit], "no row is cut"
    assert overlong == [r["id"] for r, each in zip(rows, whole, strict=True) if len(each["input_ids"]) > limit] != []


def test_a_row_that_the_template_cannot_take_is_named(base, rows):
    strict = chat.load(base, "{{ raise_exception('not me') }}")
    with pytest.raises(ValueError, match=r"^row 0-said\.jsonl:0: the chat template refuses .*: not me$"):
        sft.features(strict, rows, 512)


def test_rows_are_padded_on_the_right_and_padding_is_not_learned():
    short, long = {"input_ids": [5, 6], "labels": [IGNORE, 6]}, {"input_ids": [7, 8, 9], "labels": [7, 8, 9]}
    assert {name: values.tolist() for name, values in sft.collate([short, long]).items()} == {
        "input_ids": [[5, 6, 0], [7, 8, 9]],
        "attention_mask": [[1, 1, 0], [1, 1, 1]],
        "labels": [[IGNORE, 6, IGNORE], [7, 8, 9]],
    }


def test_padding_changes_no_loss(model, talk, rows):
    kept, _ = sft.features(talk, rows, 512)
    short, long = (choose(kept, key=lambda row: len(row["input_ids"])) for choose in (min, max))
    silent = {**long, "labels": [IGNORE] * len(long["labels"])}
    assert len(short["input_ids"]) < len(long["input_ids"])
    assert loss(model, sft.collate([short, silent])) == pytest.approx(loss(model, sft.collate([short])), abs=1e-5)


def test_only_labelled_ids_make_the_loss(model, talk, rows):
    (row,), _ = sft.features(talk, rows[:1], 512)
    with torch.no_grad():
        logits = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
    losses = [-logits[t - 1, label].item() for t, label in enumerate(row["labels"]) if label != IGNORE]
    assert loss(model, sft.collate([row])) == pytest.approx(sum(losses) / len(losses), abs=1e-5)
