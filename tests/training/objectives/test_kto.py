"""Learning from replies that are good or bad: the loss is that of the paper and of TRL, written out here once more."""

import json
import shutil

import presets
import pytest
import torch
from preference_pairs import BETA, JUDGED, LONG, ROWS, begin, gradient, logprobs_of, objective, pad_rows, step

from refrain.chat import records
from refrain.models.pytorch import loading
from refrain.pipeline import paths
from refrain.training.objectives import sft
from stages import train

GOOD, BAD = 1.3, 0.7


def sum_logprobs(model, texts):
    """log p(y | x) of whole batches: the logits of every place, summed over the words of the replies."""
    batch = pad_rows(texts)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    words = torch.log_softmax(logits, -1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return (words * batch["completion_mask"][:, 1:]).sum(-1)


def rotate(texts):
    """x_1 with y_n, x_2 with y_1 and so on, as (input_ids, labels)."""
    sides = [([*zip(text["input_ids"], text["labels"], strict=True)], text["labels"]) for text in texts]
    start = [next(place for place, label in enumerate(labels) if label != -100) for _, labels in sides]
    mixed = [sides[i][0][: start[i]] + sides[i - 1][0][start[i - 1] :] for i in range(len(texts))]
    return [{"input_ids": [token for token, _ in text], "labels": [label for _, label in text]} for text in mixed]


def loss_of_the_paper(policy, reference, texts, labels, beta):
    """lambda_D (1 - sigmoid(beta (r - z))) or lambda_U (1 - sigmoid(beta (z - r))), the mean over the batch."""
    with torch.no_grad():
        before, strange = sum_logprobs(reference, texts), rotate(texts)
        z = (sum_logprobs(policy, strange) - sum_logprobs(reference, strange)).mean().clamp(min=0)
    r = sum_logprobs(policy, texts) - before
    good = torch.tensor(labels)
    losses = torch.where(good, GOOD * (1 - torch.sigmoid(beta * (r - z))), BAD * (1 - torch.sigmoid(beta * (z - r))))
    return losses.mean(), float(z)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("rows", [JUDGED, JUDGED[:1] + JUDGED[3:4], JUDGED[1::3]], ids=["mixed", "good", "bad"])
def test_loss_and_gradient_are_those_of_the_paper(talk, base, policy, rows, packed):
    learned = objective("kto", GOOD, BAD)
    begun = begin(learned, talk, base, [*rows, {**LONG, "label": rows[0]["label"]}])
    ours = step(learned, policy, begun, packed, cut=2)
    mine = gradient(policy)
    policy.zero_grad()
    texts, labels = [reply.features for reply in begun], [reply.is_desirable for reply in begun]
    expected, z = loss_of_the_paper(policy, loading.load_pretrained(base), texts, labels, BETA["kto"])
    expected.backward()
    assert (rows is not JUDGED or z > 0.1) and mine.abs().max() > 1e-3
    assert ours == pytest.approx(expected.item(), abs=1e-6)
    assert (mine - gradient(policy)).abs().max() < 1e-6 * max(1, mine.abs().max())


def test_the_kl_is_what_strangers_have_gained_and_never_less_than_nothing(talk, base, policy):
    learned, model = objective("kto"), loading.load_pretrained(base)
    rows = begin(learned, talk, base, [*JUDGED, *ROWS])
    with torch.no_grad():
        gains = [(logprobs_of(policy)([row.kl_example]) - logprobs_of(model)([row.kl_example])).item() for row in rows]
        kl = learned.step_context(logprobs_of(policy), rows)
        back = learned.step_context(logprobs_of(model), learned.prepare(logprobs_of(policy), rows))
    assert kl == pytest.approx(sum(gains) / len(gains), abs=1e-5) and kl > 0.5
    assert back == 0


@pytest.mark.parametrize("good, bad, weights, advice", [
    (4, 4, (1, 1), None), (4, 3, (1, 1), None), (0, 0, (1, 1), None), (2, 6, (4, 1), None),
    (6, 2, (1, 1), "6 good and 2 bad replies: method.preference.undesirable_weight from 2.25 to 3.00 would balance "
                   "them"),
    (2, 6, (1, 1), "2 good and 6 bad replies: method.preference.desirable_weight from 3.00 to 4.00 would balance them"),
    (3, 0, (1, 1), "all 3 replies are good ones; KTO is made to learn from both"),
])  # fmt: skip
def test_unequal_numbers_of_good_and_bad_replies_are_said_with_the_weights(good, bad, weights, advice):
    assert objective("kto", *weights).balance_weights(good, good + bad) == advice


def test_rows_that_a_method_does_not_learn_from_stop_with_the_way_out(talk, rows):
    ends = {
        "kto": "none of 16 rows has a label or a rejected reply; choose method=lora, or a source with label, or with "
               "chosen and rejected",
        "sigmoid": "none of 5 rows has a rejected reply; choose method=kto, which learns from rows with a label, or a "
                   "source with chosen and rejected",
        None: "all 2 rows have a bad reply (label false); choose method=kto, which learns from those too, or a source "
              "with good replies",
    }  # fmt: skip
    kinds = {"kto": rows, "sigmoid": JUDGED, None: [row for row in JUDGED if not row["label"]]}
    for loss, given in kinds.items():
        learned = sft if loss is None else objective(loss)
        encoded, left_out = learned.encode_rows(talk, given)
        with pytest.raises(ValueError) as refusal:
            learned.require_rows(given, encoded)
        assert str(refusal.value) == f"data/prepared/train.jsonl: {ends[loss]}"
        assert sum(map(len, left_out.values())) == len(given)
        learned.require_rows(*[[*given, *ROWS, *JUDGED], learned.encode_rows(talk, [*given, *ROWS, *JUDGED])[0]])


@pytest.mark.heavy
@pytest.mark.parametrize("method, learned, left_out", [
    ("kto", 12, {"unlabelled": 2}), ("lora", 7, {"unpaired": 0, "bad_reply": 6}),
])  # fmt: skip
def test_the_train_stage_learns_bad_replies_by_kto_alone(base, rows, tmp_path, monkeypatch, method, learned, left_out):
    """From the same prepared rows, without a pair, and never as what to say."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, paths.BASE)
    paths.make_empty(paths.PREPARED)
    bad = {"role": "assistant", "content": "no"}
    judged = [
        {"id": f"{number}-{label}", "label": label, "messages": [row["messages"][0], reply]}
        for number, row in enumerate(rows[:6])
        for label, reply in ((True, row["messages"][-1]), (False, bad))
    ]
    given = [*judged[:11], rows[7], rows[8], judged[11]]
    for name in ("train", "val"):
        records.write_rows(paths.PREPARED / f"{name}.jsonl", given if method == "kto" else given[1:])
    train.main(presets.config(f"method={method}", "train.epochs=6", "train.batch_size=4", "train.lr=1e-3"))
    report = json.loads(paths.TRAIN_REPORT.read_text())
    assert report["rows"] == learned
    assert {name: report[name] for name in left_out} == left_out
    assert report["audit"]["train"]["rows"] == learned
    assert report["val_loss"]["after"] < report["val_loss"]["before"] - 0.01
