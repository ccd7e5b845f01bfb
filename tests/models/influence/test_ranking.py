"""Rows of a training that really ran, ranked for a question: the row itself, near ones, pairs, and none for ever."""

import adapted_models
import numpy as np
import pytest
import short_trainings
import torch

from refrain.chat import encoding, examples, model_folder, records
from refrain.models.influence import learned_rows, ranking, store
from refrain.models.influence.origin import Origin
from refrain.models.pytorch import loading
from refrain.pipeline.schema import PreferenceConfig

DPO = PreferenceConfig(loss="sigmoid", beta=0.1, desirable_weight=1.0, undesirable_weight=1.0)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def origin_of(base, adapter, rows, folder, preference=None, **changes):
    folder.mkdir(exist_ok=True)
    records.write_rows(folder / "train.jsonl", rows)
    return Origin(base, adapter, folder, {"data": str(len(rows))}, preference, **changes)


def ask(talk, row):
    return encoding.encode_prompt(talk, row["messages"][:-1]), row["messages"][-1]["content"]


@pytest.fixture
def origin(base, adapter, rows, tmp_path):
    return origin_of(base, adapter, [*rows, rows[3] | {"id": "again"}], tmp_path / "prepared")


def test_for_its_own_question_a_row_ranks_first(origin, talk, rows):
    for row in (rows[0], rows[7], rows[12]):
        first, second, *_ = ranking.rank_rows(origin, *ask(talk, row), 5, 60).rows
        assert first.row["id"] == row["id"] and first.cosine == pytest.approx(1, abs=1e-4)
        assert second.cosine < 0.99 and first.dot > 0
    twice = ranking.rank_rows(origin, *ask(talk, rows[3]), 5, 60)
    assert [one.row["id"] for one in twice.rows[:2]] == [rows[3]["id"], "again"]
    assert (twice.num_rows, twice.place) == (17, "of the adapter") and twice.num_weights == 9728


def test_the_numbers_are_those_of_whole_gradients_and_the_same_each_time(origin, talk, rows, monkeypatch):
    found = ranking.rank_rows(origin, *ask(talk, rows[5]), 17, 60)
    learned = learned_rows.read_learned_rows(origin)
    vectors = [torch.cat([part[0] for part in learned.gradients([row])]).double() for row in range(17)]
    own = 5
    for one in found.rows:
        vector = vectors[next(nth for nth, row in enumerate(learned.rows) if row["id"] == one.row["id"])]
        dot = float(vector @ vectors[own])
        assert one.dot == pytest.approx(dot, rel=1e-3, abs=1e-3 * float(vector.norm() * vectors[own].norm()))
        assert one.cosine == pytest.approx(dot / float(vector.norm() * vectors[own].norm()), abs=1e-3)
    assert [one.cosine for one in found.rows] == sorted((one.cosine for one in found.rows), reverse=True)
    again = ranking.rank_rows(origin, *ask(talk, rows[5]), 17, 60)
    assert [(one.cosine, one.dot) for one in again.rows] == [(one.cosine, one.dot) for one in found.rows]
    monkeypatch.setattr(ranking, "CANDIDATES", 4)
    few = ranking.rank_rows(origin, *ask(talk, rows[5]), 1, 60)
    assert [(one.row["id"], one.cosine) for one in few.rows] == [(found.rows[0].row["id"], found.rows[0].cosine)]


def test_what_takes_too_long_says_how_long_and_goes_on_where_it_stopped(origin, talk, rows, monkeypatch):
    monkeypatch.setattr(learned_rows, "PASS_TOKENS", 64)
    monkeypatch.setattr(ranking, "TRIAL_SECONDS", 0.0)
    with pytest.raises(ranking.TooLongError, match=r"1\d more rows would take about 1 min .* 2` does it"):
        ranking.rank_rows(origin, *ask(talk, rows[5]), 5, 0)
    (kept,) = store.store_root().glob("*/rows.*")
    size = kept.stat().st_size
    assert size
    with kept.open("ab") as file:
        file.write(bytes(100))  # a record that was being written
    resumed = ranking.rank_rows(origin, *ask(talk, rows[5]), 5, 60)
    written = kept.read_bytes()
    store.remove_all()
    assert ranking.rank_rows(origin, *ask(talk, rows[5]), 5, 60) == resumed
    (kept,) = store.store_root().glob("*/rows.*")
    assert kept.read_bytes() == written and len(written) == 17 * (2 * 4096 + 4) > size


def test_passes_are_smaller_where_the_vocabulary_is_large(origin, monkeypatch):
    learned = learned_rows.read_learned_rows(origin)
    lengths, vocabulary = learned.token_counts(), learned.traced.model.config.vocab_size
    for tokens, most in ((2048, 17), (40, 2), (1, 1)):
        monkeypatch.setattr(learned_rows, "LOGIT_BYTES", tokens * 4 * vocabulary)
        passes = learned.make_passes()
        assert sorted(row for rows in passes for row in rows) == list(range(17))
        assert all(len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= tokens for rows in passes)
        assert max(map(len, passes)) <= most


def test_pairs_count_by_the_loss_that_they_were_learned_with(base, talk, tmp_path, rows):
    pairs = [row | {"rejected": f"{nth} is wrong"} for nth, row in enumerate(rows[:6])]
    adapter = train_pairs(base, talk, pairs, tmp_path)
    found = ranking.rank_rows(origin_of(base, adapter, pairs, tmp_path / "p", DPO), *ask(talk, pairs[2]), 6, 60)
    assert found.num_rows == 6 and found.rows[0].row["id"] == pairs[2]["id"] and found.rows[0].cosine > 0.3
    learned = learned_rows.read_learned_rows(origin_of(base, adapter, pairs, tmp_path / "p", DPO))
    assert all(np.isfinite(pair.reference_logprobs).all() for pair in learned.encoded)
    later = origin_of(base, adapter, pairs, tmp_path / "p", DPO, starts_from_adapter=True)
    with pytest.raises(ValueError, match="the loss of each pair counts from the model before its first step"):
        ranking.rank_rows(later, *ask(talk, pairs[2]), 6, 60)


def train_pairs(base, talk, pairs, folder):
    from refrain.training.objectives import selection

    objective = selection.select_objective(DPO)
    encoded, _ = objective.encode_rows(talk, pairs)
    model, _ = short_trainings.fit(
        base, encoded, folder / "run", method=adapted_models.LORA, objective=objective, epochs=4, lr=1e-3
    )
    loading.save_pretrained(model, folder / "adapter")
    model_folder.copy_tokenizer(base, folder / "adapter", talk.template)
    return folder / "adapter"


@pytest.mark.parametrize("reply", ["hello there", "", "  two\n\n blanks ", "🙂 <|im_end|> typed", "不"])
def test_an_answer_is_encoded_as_training_encodes_it(talk, reply):
    turns = [{"role": "user", "content": "hello the user"}]
    trained = encoding.encode_conversation(talk, [*turns, {"role": "assistant", "content": reply}])
    end = max(place for place, label in enumerate(trained["labels"]) if label != encoding.IGNORE_INDEX) + 1
    encoded = learned_rows.encode_answer(talk, encoding.encode_prompt(talk, turns), reply)
    assert encoded == {name: values[:end] for name, values in trained.items()}


def test_a_second_question_encodes_no_more_than_its_candidates(origin, talk, rows, monkeypatch):
    first = ranking.rank_rows(origin, *ask(talk, rows[5]), 1, 60)
    encoded, encode_row = [], examples.encode_row
    monkeypatch.setattr(examples, "encode_row", lambda *given: encoded.append(given) or encode_row(*given))
    monkeypatch.setattr(ranking, "CANDIDATES", 4)
    assert ranking.rank_rows(origin, *ask(talk, rows[5]), 1, 60) == first
    assert len(encoded) == 4
