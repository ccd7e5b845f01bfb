"""Learning from pairs: the losses are those of TRL, to the gradient, and do not depend on how a step is cut."""

import json
import math
import shutil
from functools import partial
from pathlib import Path

import presets
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer

from refrain.chat import encoding, records
from refrain.chat.encoding import IGNORE_INDEX
from refrain.models.pytorch import loading
from refrain.pipeline import paths
from refrain.pipeline.schema import PreferenceConfig
from refrain.training import fit as training
from refrain.training import packing
from refrain.training.objectives import logprobs, pairs, preference, sft
from stages import train

LOSSES = ["sigmoid", "ipo", "kto", "orpo"]
BETA = {"sigmoid": 0.3, "ipo": 0.5, "kto": 0.3, "orpo": 0.2}


def row(name, asked, better, worse):
    turns = [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in asked]
    return {"id": name, "messages": [*turns, {"role": "assistant", "content": better}], "rejected": worse}


ROWS = [
    row("plain", ["user: hello 🙂"], "hello there", "não"),
    row("prefix", ["user: who?"], "the user", "the user and the assistant"),
    row("turns", ["user: a?", "assistant: the user", "user: and now?"], "the assistant", "hello"),
    row("system", ["system: be the assistant", "user: hello?"], "hello there 🙂", "the"),
    row("silent", ["user: the user there"], "hello", ""),
]
TWINS = [row("one", ["user: hello"], "the", "a"), row("two", ["user: hello"], "hello", "b")]
EVEN = [row("0", ["user: 1?"], "a", "b"), row("1", ["user: 2?"], "c", "d"), row("2", ["user: 3?"], "e", "f")]


def objective(loss):
    return preference.PreferenceObjective(PreferenceConfig(loss=loss, beta=BETA[loss]))


@pytest.fixture
def policy(base):
    """A model that is not as `base`, and likes what strangers say."""
    model, rng = loading.load_pretrained(base), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=rng)
    return model


def asked(model, packed=False):
    return partial(logprobs.sequence_logprobs, model, packed=packed)


def begun(loss, talk, base, rows=ROWS):
    """The pairs, with the likelihoods of the base as their reference."""
    learned = objective(loss)
    with torch.no_grad():
        return learned.prepare(asked(loading.load_pretrained(base)), learned.encode_rows(talk, rows)[0])


def step(loss, model, rows, packed=False, cut=1):
    """The mean loss of a step in forward passes of so many rows, its gradient left in the model."""
    learned, total = objective(loss), 0.0
    with packing.packed_attention(model) if packed else torch.enable_grad():
        with torch.no_grad():
            context = learned.step_context(asked(model, packed), rows)
        for start in range(0, len(rows), cut):
            part = learned.loss(asked(model, packed), rows[start : start + cut], context) / learned.normaliser(rows)
            part.backward()
            total += part.item()
    return total


def gradient(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def padded(texts):
    """The batch of TRL's collators, of our ids and labels."""
    ids, labels = ([torch.tensor(text[name]) for text in texts] for name in ("input_ids", "labels"))
    labels = pad_sequence(labels, batch_first=True, padding_value=IGNORE_INDEX)
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(each) for each in ids], batch_first=True),
        "completion_mask": (labels != IGNORE_INDEX).long(),
        "labels": labels,
    }


def sides(rows):
    return [pair.chosen for pair in rows] + [pair.rejected for pair in rows]


def paired(rows):
    return {name: value for name, value in padded(sides(rows)).items() if name != "labels"}


def desired(rows):
    beside = padded([pair.kl_examples[side] for side in (0, 1) for pair in rows])
    label = torch.tensor([True] * len(rows) + [False] * len(rows))
    return paired(rows) | {f"KL_{name}": beside[name] for name in beside if name != "labels"} | {"label": label}


def sided(rows):
    both = {side: padded([getattr(pair, side) for pair in rows]) for side in ("chosen", "rejected")}
    return {f"{side}_{name}": value for side, batch in both.items() for name, value in batch.items()}


@pytest.fixture(scope="module")
def trl(base, tmp_path_factory):
    """A function that gives loss and gradient of a model on our batch, as TRL has them."""
    import trl
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    common = {"report_to": [], "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    text = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "d", "chosen": "e", "rejected": "f"}]
    kinds = {
        "sigmoid": (trl.DPOTrainer, trl.DPOConfig, {"loss_type": ["sigmoid"]}, paired),
        "ipo": (trl.DPOTrainer, trl.DPOConfig, {"loss_type": ["ipo"]}, paired),
        "kto": (trl.KTOTrainer, trl.KTOConfig, {"train_sampling_strategy": "sequential"}, desired),
        "orpo": (ORPOTrainer, ORPOConfig, {}, sided),
    }

    def run(loss, model, rows):
        trainer, config, settings, batch = kinds[loss]
        args = config(str(tmp_path_factory.mktemp("trl")), beta=BETA[loss], **settings, **common)
        reference = {} if loss == "orpo" else {"ref_model": loading.load_pretrained(base)}
        made = trainer(model, args=args, train_dataset=Dataset.from_list(text), **reference,
                       processing_class=AutoTokenizer.from_pretrained(base))  # fmt: skip
        found = made.compute_loss(made.model, batch(rows))
        found.backward()
        return found.item()

    return run


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("rows", [ROWS, EVEN], ids=["ragged", "even"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_are_those_of_trl(talk, base, policy, trl, loss, rows, packed):
    begun_rows = begun(loss, talk, base, rows)
    assert (len({len(side["input_ids"]) for side in sides(begun_rows)}) == 1) == (rows is EVEN)
    ours = step(loss, policy, begun_rows, packed)
    mine = gradient(policy)
    policy.zero_grad()
    assert ours == pytest.approx(trl(loss, policy, begun_rows), abs=1e-6)
    assert mine.abs().max() > 1e-3
    assert (mine - gradient(policy)).abs().max() < 1e-6 * max(1, mine.abs().max())


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_the_same_in_any_number_of_passes(talk, base, policy, loss, packed):
    rows = begun(loss, talk, base)
    whole = step(loss, policy, rows, packed)
    once = gradient(policy)
    policy.zero_grad()
    assert step(loss, policy, rows, packed, cut=1) == pytest.approx(whole, abs=1e-6)
    assert (once - gradient(policy)).abs().max() < 1e-6 * max(1, once.abs().max())


def fit(base, loss, rows, tmp_path, held_out=(), model=None, **changes):
    """A trained model and its curves."""
    settings = {"lr": 0.003, "epochs": 1, "batch_size": 4, "warmup": 0, "schedule": "constant"}
    model = model or loading.build_trainable(base, presets.lora(), 7)
    return model, training.train_model(
        model, rows, list(held_out), objective(loss), presets.train(**settings | changes), 7, tmp_path
    )


@pytest.fixture(scope="module")
def many(talk, rows):
    """Twelve pairs, no two texts of which are the same."""
    made = [{**row, "rejected": f"no {i}"} for i, row in enumerate(rows[:12])]
    return {loss: objective(loss).encode_rows(talk, made)[0] for loss in LOSSES}


@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("micro_batch_tokens", [1, 64, 10_000])
def test_dpo_starts_at_log_two(base, many, tmp_path, micro_batch_tokens, packing):
    rows, size = many["sigmoid"], {"micro_batch_tokens": micro_batch_tokens, "packing": packing}
    _, curves = fit(base, "sigmoid", rows, tmp_path, rows, **size)
    assert curves.val[0][1] == pytest.approx(math.log(2), abs=1e-6)
    assert curves.train[0][1] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("loss", ["sigmoid", "kto"])
@pytest.mark.parametrize("method", ["full", "started"])
def test_the_reference_is_the_model_as_it_stands(base, many, tmp_path, loss, method):
    model = loading.build_trainable(base, presets.full() if method == "full" else presets.lora(), 7)
    if method == "started":
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight += 0.05 * ("lora_B" in name)
    _, curves = fit(base, loss, many[loss], tmp_path, model=model)
    assert curves.train[0][1] == pytest.approx({"sigmoid": math.log(2), "kto": 0.5}[loss], abs=1e-6)


def test_ipo_starts_at_its_square(base, many, tmp_path):
    _, curves = fit(base, "ipo", many["ipo"], tmp_path)
    assert curves.train[0][1] == pytest.approx(1 / (2 * BETA["ipo"]) ** 2, abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_falls(base, many, tmp_path, loss):
    _, curves = fit(base, loss, many[loss], tmp_path, many[loss][:4], epochs=6, lr=0.01)
    assert curves.train[-1][1] < 0.7 * curves.train[0][1] and curves.val[-1][1] < 0.7 * curves.val[0][1]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_size_of_a_pass_changes_no_weight(base, many, tmp_path, loss):
    sizes = {size: {"micro_batch_tokens": size, "lr": 0.001} for size in (1, 10_000)}
    ends = [fit(base, loss, many[loss][:8], tmp_path / str(size), **changes)[0] for size, changes in sizes.items()]
    start = loading.build_trainable(base, presets.lora(), 7)
    one, two, begin = (torch.cat([weight.flatten() for weight in each.parameters()]) for each in (*ends, start))
    assert (one - two).abs().max() < 1e-5 and (one - begin).abs().max() > 1e-3


COUNTS = [("sigmoid", 24, 8), ("ipo", 24, 8), ("kto", 48, 16), ("orpo", 0, 8)]


@pytest.mark.parametrize(("loss", "once", "each"), COUNTS)
def test_the_reference_is_asked_for_once(base, many, tmp_path, loss, once, each):
    """Texts that go through the model: so many before the first step, and so many in every step of four pairs."""
    model, texts = loading.build_trainable(base, presets.lora(), 7), []
    model.get_base_model().model.register_forward_pre_hook(
        lambda module, args, given: texts.append(len(given["input_ids"])), with_kwargs=True
    )
    _, curves = fit(base, loss, many[loss], tmp_path, model=model, epochs=2, packing=False, micro_batch_tokens=10_000)
    assert len(curves.train) == 6 and sum(texts) == once + 6 * each


def test_a_pair_the_other_way_round_has_the_mirrored_margin(talk, base, policy):
    rows = begun("sigmoid", talk, base)
    turned = [
        pairs.PreferencePair(
            row.rejected, row.chosen, reference_logprobs=(row.reference_logprobs[1], row.reference_logprobs[0])
        )
        for row in rows
    ]
    for one, other in zip(rows, turned, strict=True):
        chances = [math.exp(-step("sigmoid", policy, [pair])) for pair in (one, other)]
        assert sum(chances) == pytest.approx(1, abs=1e-6) and abs(chances[0] - 0.5) > 1e-4


def test_a_certain_reply_has_a_gradient():
    for likely in (0.0, -1e-12, -1e-3, -100.0):
        found = torch.tensor([likely], requires_grad=True)
        odds = preference.log_odds(found)
        preference.negative_log_sigmoid(odds - preference.log_odds(torch.tensor([-1.0]))).backward()
        assert odds.isfinite() and found.grad.isfinite()
    assert preference.log_odds(torch.tensor([0.5]).log()).item() == pytest.approx(0, abs=1e-6)


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
    data = [row("asks", ["user: " + "🙂" * 20], "a", "b"), row("tells", ["user: ?"], "🙂" * 19, "🙂" * 18)]
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


def test_a_row_that_the_template_cannot_take_is_named(base):
    strict = encoding.load_tokenizer(base, "{{ raise_exception('not me') }}")
    with pytest.raises(ValueError, match=r"^row plain: the chat template refuses .*: not me$"):
        objective("sigmoid").encode_rows(strict, ROWS)


def replied(text):
    return [label for label in text["labels"] if label != IGNORE_INDEX]


def prompted(text):
    return text["input_ids"][: pairs.prompt_length(text)]


def test_strangers_are_the_replies_of_the_pair_before(talk):
    """Which is TRL's rotation by one, of the chosen and of the rejected replies."""
    kept, _ = objective("kto").encode_rows(talk, [*ROWS, row("long", ["user: hello?"], "hello there " * 9, "a")])
    for before, pair in zip([kept[-1], *kept], kept, strict=False):
        assert [prompted(text) for text in pair.kl_examples] == [prompted(pair.chosen)] * 2
        assert [replied(text) for text in pair.kl_examples] == [replied(before.chosen), replied(before.rejected)]


@pytest.mark.parametrize("data", [[*TWINS, ROWS[0]], [ROWS[0], *TWINS], [TWINS[0], ROWS[0], TWINS[1]]])
def test_a_stranger_is_none_of_the_same_prompt(talk, data):
    kept, _ = objective("kto").encode_rows(talk, data)
    prompts = {tuple(replied(side)): prompted(side) for pair in kept for side in (pair.chosen, pair.rejected)}
    assert len(prompts) == 6
    assert all(prompts[tuple(replied(text))] != prompted(text) for pair in kept for text in pair.kl_examples)


def test_drift_is_what_strangers_have_gained_and_never_less_than_nothing(talk, base, policy):
    rows, learned = begun("kto", talk, base), objective("kto")
    with torch.no_grad():
        gained = [asked(policy)([text]).item() - asked(loading.load_pretrained(base))([text]).item()
                  for row in rows for text in row.kl_examples]  # fmt: skip
        drift = learned.step_context(asked(policy), rows).kl
        back = learned.step_context(asked(loading.load_pretrained(base)), learned.prepare(asked(policy), rows)).kl
    assert drift == pytest.approx(sum(gained) / len(gained), abs=1e-5) and drift > 0.5
    assert back == 0


def test_where_all_prompts_are_one_there_are_strangers_still(talk):
    for data in (TWINS, TWINS[:1]):
        kept, _ = objective("kto").encode_rows(talk, data)
        assert [len(pair.kl_examples) for pair in kept] == [2] * len(data)


@pytest.mark.parametrize("method", ["dpo", "ipo", "orpo", "kto"])
def test_the_train_stage_learns_from_pairs(base, rows, tmp_path, monkeypatch, method):
    """By its preset, on a small model: rows that are no pairs are counted."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, paths.BASE)
    paths.make_empty(paths.PREPARED)
    records.write_rows(paths.PREPARED / "train.jsonl", [*ROWS, *rows[:3]])
    records.write_rows(paths.PREPARED / "val.jsonl", [*rows[:3], *ROWS[:2]])
    train.main(presets.config(f"method={method}", "train.epochs=6", "train.batch_size=4"))
    report = json.loads(paths.TRAIN_REPORT.read_text())
    assert (report["rows"], report["unpaired"]) == (len(ROWS), 3)
    assert (report["audit"]["train"]["rows"], report["audit"]["val"]["rows"]) == (len(ROWS), 2)
    assert report["val_loss"]["after"] < report["val_loss"]["before"] - 0.05
    assert (paths.ADAPTER / "adapter_model.safetensors").is_file() and not list(Path(".checkpoints").iterdir())
    records.write_rows(paths.PREPARED / "train.jsonl", rows)
    with pytest.raises(ValueError, match="choose method=lora"):
        train.main(presets.config(f"method={method}"))
