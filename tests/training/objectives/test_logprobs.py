"""How likely a model finds the labelled tokens of rows: the same however rows share a pass, and at the least cost."""

from contextlib import nullcontext

import pytest
import small_architectures
import torch
from labelled_rows import random_rows

from refrain.chat.encoding import IGNORE_INDEX
from refrain.training import packing
from refrain.training.cpu.onednn import count_missing
from refrain.training.objectives.logprobs import count_labels, pad_rows, sequence_logprobs


def found(model, rows, packed):
    with packing.packed_attention(model) if packed else nullcontext():
        return sequence_logprobs(model, rows, packed)


def gradient(model, rows, packed):
    """Of a sum in which every row has a weight of its own."""
    model.zero_grad()
    (found(model, rows, packed) * torch.arange(1, len(rows) + 1)).sum().backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


WHOLE = ["opt", "bloom", "mpt"]  # they cannot leave columns out
PADDED = [(name, False) for name in small_architectures.CONFIGS]
PACKED = [(name, True) for name in small_architectures.PACKED]
EVERY = pytest.mark.parametrize(("name", "packed"), PADDED + PACKED)
EITHER = pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])


@EVERY
def test_the_likelihood_of_a_row_is_that_of_transformers(name, packed):
    """Each row by itself, against the loss that the model computes from labels: a mean over the labelled tokens."""
    model, rows = small_architectures.random(name), random_rows()
    with torch.no_grad():
        expected = [
            -model(**{name: torch.tensor([row[name]]) for name in row}).loss * count_labels(row) for row in rows
        ]
        torch.testing.assert_close(found(model, rows, packed), torch.stack(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", small_architectures.PACKED)
def test_packed_and_padded_rows_have_the_same_likelihood_and_gradient(name):
    model, rows = small_architectures.random(name), random_rows()
    with torch.no_grad():
        torch.testing.assert_close(found(model, rows, True), found(model, rows, False), atol=1e-5, rtol=1e-6)
    packed, padded = (gradient(model, rows, packed) for packed in (True, False))
    assert padded.abs().max() > 0.1
    assert (packed - padded).abs().max() < 1e-5 * padded.abs().max()


@pytest.mark.parametrize(("name", "packed"), [pair for pair in PADDED + PACKED if pair[0] not in WHOLE])
def test_logits_are_computed_where_a_label_follows_and_nowhere_else(name, packed):
    model, rows, seen = small_architectures.random(name), random_rows(), []
    model.get_output_embeddings().register_forward_hook(
        lambda layer, given, logits: seen.append(logits.shape[:2].numel())
    )
    with torch.no_grad():
        found(model, rows, packed)
    columns = {column for row in rows for column, label in enumerate(row["labels"][1:]) if label != IGNORE_INDEX}
    assert seen == [sum(map(count_labels, rows)) if packed else len(rows) * len(columns)]


@EITHER
def test_rows_that_ask_about_one_text_are_one_row_of_the_pass(packed):
    model, seen = small_architectures.random("llama"), []
    (text, other) = random_rows((9, 5))
    rest = [token if label == IGNORE_INDEX else IGNORE_INDEX for token, label in zip(*text.values(), strict=True)]
    rows = [text, other, {"input_ids": list(text["input_ids"]), "labels": rest}]
    with torch.no_grad():
        apart = torch.cat([found(model, [row], packed) for row in rows])
        model.model.register_forward_pre_hook(
            lambda module, args, given: seen.append(given["input_ids"].numel()), with_kwargs=True
        )
        torch.testing.assert_close(found(model, rows, packed), apart, atol=1e-5, rtol=1e-6)
    tokens = 8 + 4 if packed else 2 * 8  # the last token of a text foretells none
    assert seen == [tokens + count_missing(tokens)]
    assert count_labels(rows[0]) and count_labels(rows[2])


def begin_alike():
    """Rows of which three begin with the same tokens, two of them with more, and one is the beginning of another."""
    rows = random_rows((12, 10, 9, 7))
    ids = [list(row["input_ids"]) for row in rows]
    ids[1][:6], ids[2][:3], ids[3] = ids[0][:6], ids[0][:3], ids[0][:7]
    return [{"input_ids": some, "labels": list(some)} for some in ids]


@pytest.mark.parametrize("name", small_architectures.PACKED)
def test_what_rows_begin_with_in_common_is_computed_once_and_learned_from_by_all(name):
    model, rows, seen = small_architectures.random(name), begin_alike(), []
    with torch.no_grad():
        torch.testing.assert_close(found(model, rows, True), found(model, rows, False), atol=1e-5, rtol=1e-6)
    packed, padded = (gradient(model, rows, packed) for packed in (True, False))
    assert (packed - padded).abs().max() < 1e-5 * padded.abs().max()
    model.get_input_embeddings().register_forward_pre_hook(lambda layer, ids: seen.append(ids[0].numel()))
    with torch.no_grad():
        found(model, rows, True)
    tokens = 11 + (9 - 6) + (8 - 3)  # the last token of a text foretells none
    assert seen == [tokens + count_missing(tokens)]


@EITHER
def test_the_first_token_is_not_foretold(packed):
    model, (row,) = small_architectures.random("llama"), random_rows((6,))
    named, bare = ({**row, "labels": [first, *row["labels"][1:]]} for first in (row["input_ids"][0], IGNORE_INDEX))
    assert count_labels(named) == count_labels(bare)
    with torch.no_grad():
        assert torch.equal(found(model, [named], packed), found(model, [bare], packed))


@EITHER
def test_a_row_without_labels_is_certain(packed):
    model, (row, other) = small_architectures.random("llama"), random_rows((6, 7))
    with torch.no_grad():
        both = found(model, [{**row, "labels": [IGNORE_INDEX] * 6}, other], packed)
        assert both[0] == 0 and both[1] == pytest.approx(found(model, [other], packed).item(), abs=1e-5)


def test_a_model_that_computes_all_logits_is_asked_all_the_same():
    """Of an architecture whose forward cannot leave columns out, the columns are chosen afterwards."""
    model, rows = small_architectures.random("llama"), random_rows()
    with torch.no_grad():
        expected = found(model, rows, False)
        forward = model.forward
        model.forward = lambda input_ids, attention_mask, use_cache: forward(input_ids, attention_mask, use_cache=False)
        torch.testing.assert_close(found(model, rows, False), expected, atol=1e-5, rtol=1e-6)


def test_rows_are_padded_on_the_right_and_padding_is_not_attended_to():
    assert {name: values.tolist() for name, values in pad_rows([(5, 6), (7, 8, 9)], torch.device("cpu")).items()} == {
        "input_ids": [[5, 6, 0], [7, 8, 9]],
        "attention_mask": [[1, 1, 0], [1, 1, 1]],
    }
