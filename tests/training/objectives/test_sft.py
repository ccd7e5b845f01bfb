"""Supervised fine-tuning: what is learned of which rows, and that the loss is TRL's and transformers' own."""

from functools import partial

import pytest
import torch
from transformers import AutoTokenizer

from refrain.chat import encoding
from refrain.models.pytorch import loading
from refrain.training import packing
from refrain.training.objectives import logprobs, sft

IGNORE = encoding.IGNORE_INDEX


@pytest.fixture
def model(base):
    return loading.load_pretrained(base)


@pytest.fixture(scope="module")
def kept(talk, rows):
    return sft.encode_rows(talk, rows)[0]


def loss(model, rows, packed=False):
    """The mean loss of a step, its gradient left in the model."""
    ask = partial(logprobs.sequence_logprobs, model, packed=packed)
    mean = sft.loss(ask, sft.prepare(ask, rows), sft.step_context(ask, rows)) / sft.normaliser(rows)
    mean.backward()
    return mean.item()


def gradient(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def pad_rows(rows):
    """The batch that transformers and TRL learn from."""
    long = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "labels": IGNORE}
    batch = {name: torch.tensor([row[name] + [fill[name]] * (long - len(row[name])) for row in rows]) for name in fill}
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (long - len(row["input_ids"])) for row in rows])
    return batch | {"attention_mask": mask}


def test_every_row_is_learned_whole(talk, rows):
    kept, left_out = sft.encode_rows(talk, rows)
    assert kept == [encoding.encode_conversation(talk, row["messages"]) for row in rows] and left_out == {
        "unpaired": []
    }
    for row, each, lesson in zip(rows, kept, sft.examples(rows, kept), strict=True):
        assert lesson == (row["id"], row["messages"], each, [1], None)


def test_of_a_pair_the_chosen_reply_is_learned(talk, rows):
    assert sft.encode_rows(talk, [{**row, "rejected": "no"} for row in rows]) == sft.encode_rows(talk, rows)


def test_a_row_that_the_template_refuses_is_refused_in_its_words(base, rows):
    strict = encoding.load_tokenizer(base, "{{ raise_exception('not me') }}")
    with pytest.raises(ValueError, match=r"^the chat template refuses a conversation of user, assistant: not me$"):
        sft.encode_rows(strict, rows)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_loss_and_gradient_are_those_of_transformers(model, kept, packed):
    with packing.packed_attention(model) if packed else torch.enable_grad():
        ours = loss(model, kept, packed)
    mine = gradient(model)
    model.zero_grad()
    theirs = model(**pad_rows(kept)).loss
    theirs.backward()
    assert ours == pytest.approx(theirs.item(), abs=1e-5)
    assert (mine - gradient(model)).abs().max() < 1e-6 < mine.abs().max()


@pytest.mark.heavy
@pytest.mark.parametrize("many", [True, False], ids=["ragged", "alone"])
def test_loss_and_gradient_are_those_of_trl(base, model, kept, tmp_path, many):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = kept if many else kept[:1]
    ours = loss(model, rows)
    mine = gradient(model)
    model.zero_grad()
    args = SFTConfig(str(tmp_path), report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False)
    trainer = SFTTrainer(model, args, train_dataset=Dataset.from_list([{"text": "a"}]),
                         processing_class=AutoTokenizer.from_pretrained(base))  # fmt: skip
    theirs = trainer.compute_loss(trainer.model, pad_rows(rows))
    theirs.backward()
    assert ours == pytest.approx(theirs.item(), abs=1e-6)
    assert (mine - gradient(model)).abs().max() < 1e-6 < mine.abs().max()


def test_a_token_weighs_the_same_in_whichever_row_it_stands(model, kept):
    """The step is the mean over its labelled tokens, not the mean of the means of its rows."""
    parts = [(loss(model, [row]), logprobs.count_labels(row)) for row in kept]
    assert len({count for _, count in parts}) > 1
    mean = sum(part * count for part, count in parts) / sum(count for _, count in parts)
    assert loss(model, kept) == pytest.approx(mean, abs=1e-5)
    assert sft.normaliser(kept) == sum(map(sft.label_count, kept)) == sum(count for _, count in parts)


def test_only_labelled_ids_make_the_loss(model, kept):
    row = kept[0]
    with torch.no_grad():
        logits = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
    losses = [-logits[t - 1, label].item() for t, label in enumerate(row["labels"]) if label != IGNORE]
    assert loss(model, [row]) == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert len(losses) < len(row["input_ids"]) == sft.token_count(row)
