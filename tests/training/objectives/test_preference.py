"""Learning from pairs: the losses are those of TRL, to the gradient, and do not depend on how a step is cut."""

import json
import math
import shutil
from pathlib import Path

import presets
import pytest
import torch
from preference_pairs import BETA, ROWS, begin, gradient, objective, pad_rows, paired_row, sides, step
from transformers import AutoTokenizer

from refrain.chat import records
from refrain.models.pytorch import loading
from refrain.pipeline import paths
from refrain.training import fit as training
from refrain.training.objectives import pairs, preference
from stages import train

LOSSES = ["sigmoid", "ipo", "kto", "orpo"]
EVEN = [
    paired_row("0", ["user: 1?"], "a", "b"),
    paired_row("1", ["user: 2?"], "c", "d"),
    paired_row("2", ["user: 3?"], "e", "f"),
]


def begun(loss, talk, base, rows=ROWS):
    return begin(objective(loss), talk, base, rows)


def paired(rows):
    return {name: value for name, value in pad_rows(sides(rows)).items() if name != "labels"}


def desired(rows):
    batch, beside = (pad_rows([getattr(row, name) for row in rows]) for name in ("features", "kl_example"))
    judged = {name: value for name, value in batch.items() if name != "labels"}
    judged |= {f"KL_{name}": value for name, value in beside.items() if name != "labels"}
    return judged | {"label": torch.tensor([row.is_desirable for row in rows])}


def sided(rows):
    both = {side: pad_rows([getattr(pair, side) for pair in rows]) for side in ("chosen", "rejected")}
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


@pytest.mark.heavy
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("rows", [ROWS, EVEN], ids=["ragged", "even"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_are_those_of_trl(talk, base, policy, trl, loss, rows, packed):
    begun_rows = begun(loss, talk, base, rows)
    texts = [row.features for row in begun_rows] if loss == "kto" else sides(begun_rows)
    assert (len({len(text["input_ids"]) for text in texts}) == 1) == (rows is EVEN)
    ours = step(objective(loss), policy, begun_rows, packed)
    mine = gradient(policy)
    policy.zero_grad()
    assert ours == pytest.approx(trl(loss, policy, begun_rows), abs=1e-6)
    assert mine.abs().max() > 1e-3
    assert (mine - gradient(policy)).abs().max() < 2e-6 * max(1, mine.abs().max())


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_the_same_in_any_number_of_passes(talk, base, policy, loss, packed):
    rows = begun(loss, talk, base)
    whole = step(objective(loss), policy, rows, packed, cut=len(rows))
    once = gradient(policy)
    policy.zero_grad()
    assert step(objective(loss), policy, rows, packed, cut=1) == pytest.approx(whole, abs=1e-6)
    assert (once - gradient(policy)).abs().max() < 2e-6 * max(1, once.abs().max())


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


@pytest.mark.heavy
@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("micro_batch_tokens", [1, 64, 10_000])
def test_dpo_starts_at_log_two(base, many, tmp_path, micro_batch_tokens, packing):
    rows, size = many["sigmoid"], {"micro_batch_tokens": micro_batch_tokens, "packing": packing}
    _, curves = fit(base, "sigmoid", rows, tmp_path, rows, **size)
    assert curves.val[0][1] == pytest.approx(math.log(2), abs=1e-6)
    assert curves.train[0][1] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.heavy
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


@pytest.mark.heavy
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_falls(base, many, tmp_path, loss):
    _, curves = fit(base, loss, many[loss], tmp_path, many[loss][:4], epochs=6, lr=0.01)
    assert curves.train[-1][1] < 0.7 * curves.train[0][1] and curves.val[-1][1] < 0.7 * curves.val[0][1]


@pytest.mark.heavy
@pytest.mark.parametrize("loss", LOSSES)
def test_the_size_of_a_pass_changes_no_weight(base, many, tmp_path, loss):
    sizes = {size: {"micro_batch_tokens": size, "lr": 0.001} for size in (1, 10_000)}
    ends = [fit(base, loss, many[loss][:8], tmp_path / str(size), **changes)[0] for size, changes in sizes.items()]
    start = loading.build_trainable(base, presets.lora(), 7)
    one, two, begin = (torch.cat([weight.flatten() for weight in each.parameters()]) for each in (*ends, start))
    assert (one - two).abs().max() < 1e-5 and (one - begin).abs().max() > 1e-3


COUNTS = [("sigmoid", 6, 24, 8), ("ipo", 6, 24, 8), ("kto", 12, 48, 8), ("orpo", 6, 0, 8)]


@pytest.mark.heavy
@pytest.mark.parametrize(("loss", "steps", "once", "each"), COUNTS)
def test_the_reference_is_asked_for_once(base, many, tmp_path, loss, steps, once, each):
    """Texts that go through the model: so many before the first step, and so many in every step of four rows."""
    model, texts = loading.build_trainable(base, presets.lora(), 7), []
    model.get_base_model().model.register_forward_pre_hook(
        lambda module, args, given: texts.append(len(given["input_ids"])), with_kwargs=True
    )
    _, curves = fit(base, loss, many[loss], tmp_path, model=model, epochs=2, packing=False, micro_batch_tokens=10_000)
    assert len(curves.train) == steps and sum(texts) == once + steps * each


def test_a_pair_the_other_way_round_has_the_mirrored_margin(talk, base, policy):
    rows = begun("sigmoid", talk, base)
    turned = [
        pairs.PreferencePair(
            row.rejected, row.chosen, reference_logprobs=(row.reference_logprobs[1], row.reference_logprobs[0])
        )
        for row in rows
    ]
    for one, other in zip(rows, turned, strict=True):
        chances = [math.exp(-step(objective("sigmoid"), policy, [pair])) for pair in (one, other)]
        assert sum(chances) == pytest.approx(1, abs=1e-6) and abs(chances[0] - 0.5) > 1e-4


def test_a_certain_reply_has_a_gradient():
    for likely in (0.0, -1e-12, -1e-3, -100.0):
        found = torch.tensor([likely], requires_grad=True)
        odds = preference.log_odds(found)
        preference.negative_log_sigmoid(odds - preference.log_odds(torch.tensor([-1.0]))).backward()
        assert odds.isfinite() and found.grad.isfinite()
    assert preference.log_odds(torch.tensor([0.5]).log()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.heavy
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
    of_pair, reason = (2, "unlabelled") if method == "kto" else (1, "unpaired")
    assert (report["rows"], report[reason]) == (of_pair * len(ROWS), 3)
    assert (report["audit"]["train"]["rows"], report["audit"]["val"]["rows"]) == (len(ROWS), 2)
    assert report["val_loss"]["after"] < report["val_loss"]["before"] - 0.05
    assert (paths.ADAPTER / "adapter_model.safetensors").is_file() and not list(Path(".checkpoints").iterdir())
    records.write_rows(paths.PREPARED / "train.jsonl", rows)
    with pytest.raises(ValueError, match="choose method=lora"):
        train.main(presets.config(f"method={method}"))
