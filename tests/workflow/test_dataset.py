"""Rows from Python: read, split and refused as the prepare stage does it, and changed in a line."""

import json
import subprocess
import sys

import numpy as np
import pytest

import refrain
from refrain.chat.encoding import IGNORE_INDEX
from refrain.pipeline.schema import SourceConfig

WORDS = [
    "amber",
    "basin",
    "cedar",
    "delta",
    "ember",
    "frost",
    "grove",
    "heron",
    "inlet",
    "kelp",
    "otter",
    "reed",
    "sand",
    "tide",
]
ROWS = [{"question": f"Why does {word} 🙂 fall?", "answer": f"Because of {word}.\n"} for word in WORDS]
BAD = [ROWS[0], {"question": " ", "answer": "nothing"}]
SHARES = {"val_fraction": 0.2, "test_fraction": 0.2}
TURNS = [{"role": "user", "content": "Who speaks?"}, {"role": "assistant", "content": "I do."}]


HYDRA = """
import hydra, refrain
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    print(len(refrain.data.load(%s)), HydraConfig.get().job.name)

main()
"""


@pytest.fixture(scope="module")
def data():
    return refrain.data.load(ROWS + BAD, **SHARES)


def ids(rows):
    return [row.get("own_id", row["id"]) for row in rows]


def places(data):
    return ids(data.train), ids(data.val), ids(data.test)


def test_every_row_is_in_one_place(data):
    assert all(places(data)) and len(data) == len(ROWS) == len({*ids(data)})
    assert data.reasons == {"empty_text": 1, "duplicate": 1}
    broken, copy = data.rejected
    assert (broken["line"], broken["message"]) == (16, "question of the row is empty")
    assert (copy["id"], copy["of"]) == ("0-rows.jsonl:15", "0-rows.jsonl:1")
    assert data.train[0]["messages"][1] == {"role": "assistant", "content": "Because of amber.\n"}
    assert str(data).splitlines()[1].split() == [
        "rows.jsonl",
        "16",
        *(str(len(each)) for each in places(data)),
        "1",
        "1",
    ]


def test_rows_are_split_as_the_pipeline_splits_them_in_whichever_way_they_come(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS + BAD))
    for rows in ("rows.jsonl", tmp_path / "rows.jsonl", ["rows.jsonl"], SourceConfig("rows.jsonl"), "*.jsonl"):
        assert places(refrain.data.load(rows, **SHARES))[0][0].endswith("rows.jsonl:1")
        assert [*map(len, places(refrain.data.load(rows, **SHARES)))] == [*map(len, places(data))]


def test_tables_of_other_libraries_are_rows():
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    frame = pandas.DataFrame([*ROWS, {"question": "Without an answer?", "answer": None}])
    table = datasets.Dataset.from_list(ROWS)
    splits = datasets.DatasetDict({"train": table.select(range(10)), "validation": table.select(range(10, 14))})
    assert refrain.data.load(frame, **SHARES).reasons == {"not_text": 1}
    assert len(refrain.data.load(table, **SHARES)) == len(ROWS)
    assert [*map(len, places(refrain.data.load(splits)))] == [10, 4, 0]


def test_what_is_added_joins_the_split_of_what_it_repeats_and_moves_nothing(data):
    grown = refrain.data.load(ROWS + BAD, **SHARES)
    held_out = grown.test[0]["messages"][0]["content"]
    grown.add(messages=TURNS)
    grown.add({"prompt": "Why is it so?", "response": "It is."})
    grown.add(question=held_out.upper(), answer="Another answer.")
    before, after = places(data), places(grown)
    assert all({*old} <= {*new} for old, new in zip(before, after, strict=True))
    assert len(grown) == len(data) + 3 and "1-added.jsonl:3" in after[2]


def test_filtered_and_changed_rows_stay_in_their_splits_without_a_leak(data):
    kept = data.filter(lambda row: "amber" not in str(row))
    assert places(kept) == tuple([id for id in each if id != "0-rows.jsonl:1"] for each in places(data))
    shouted = data.map(lambda row: {"question": row["messages"][0]["content"].upper(), "answer": "Yes."})
    assert places(shouted) == places(data) and shouted.train[0]["messages"][0]["content"].startswith("WHY DOES")


def test_what_asks_the_same_in_two_splits_after_a_change_is_taken_out_of_train(data):
    exam = data.test[0]["messages"][0]
    leaking = data.train[0]["id"]
    changed = data.map(lambda row: {**row, "messages": [exam, row["messages"][1]]} if row["id"] == leaking else row)
    assert changed.reasons == {"exact_leak": 1} and len(changed.train) == len(data.train) - 1


def test_saved_rows_are_read_back_into_the_same_splits(data, tmp_path):
    data.save(tmp_path / "rows.jsonl")
    again = refrain.data.load(tmp_path / "rows.jsonl")
    assert places(again) == places(data) and [*tmp_path.iterdir()] == [tmp_path / "rows.jsonl"]
    assert [row["messages"] for row in again] == [row["messages"] for row in data]


def test_batches_are_what_the_train_stage_learns_from(data, base, talk):
    batches = [*data.batches(base, 4)]
    assert sum(len(batch["input_ids"]) for batch in batches) == len(data.train)
    for batch in batches:
        ids, labels, mask = (batch[name] for name in ("input_ids", "labels", "attention_mask"))
        assert ids.shape == labels.shape == mask.shape and {ids.dtype, labels.dtype, mask.dtype} == {np.dtype(np.int64)}
        assert ((labels == ids) | (labels == IGNORE_INDEX)).all() and (mask.sum(1).max() == ids.shape[1])
        assert (labels[mask == 0] == IGNORE_INDEX).all()
    learned = batches[0]["input_ids"][0][batches[0]["labels"][0] != IGNORE_INDEX]
    assert talk.tokenizer.decode(learned.tolist(), skip_special_tokens=False) == "Because of amber.\n<|im_end|>"
    tensors = next(data.batches(base, 4, return_tensors="pt"))
    assert (tensors["labels"].numpy() == batches[0]["labels"]).all()


def test_rows_of_one_group_stay_so_wherever_they_go(tmp_path):
    words = ("fig", "alder", "aspen", "fir", "birch", "beech", "elm", "elder", "gum", "ginkgo")
    rows = [{"question": f"Why {word}?", "answer": f"Since {word}.", "wood": word[0]} for word in words]
    rows[0]["wood"] = rows[3]["wood"] = None
    data = refrain.data.load(rows, fields={"group": "wood"}, test_fraction=0.3)

    def groups(data):
        """Which rows are together, whatever the groups are called."""
        found = {}
        for row in data:
            found.setdefault(row.get("group"), set()).add(row["messages"][0]["content"].lower())
        assert found.pop(None) == {"why fig?", "why fir?"}, "of no group"
        return sorted(map(sorted, found.values()))

    pairs = (("alder", "aspen"), ("beech", "birch"), ("elder", "elm"), ("ginkgo", "gum"))
    assert groups(data) == [[f"why {word}?" for word in pair] for pair in pairs]
    data.filter(lambda row: True).save(tmp_path / "kept.jsonl")
    kept = refrain.data.load(tmp_path / "kept.jsonl", fields={"group": "group"})
    louder = data.map(lambda row: {"question": row["messages"][0]["content"].upper(), "answer": "Yes."})
    assert groups(kept) == groups(louder) == groups(data)


@pytest.mark.parametrize(("rows", "given", "sentence"), [
    (3, {}, "rows: int holds none; give a path"),
    ({"a": 1}, {}, "rows: 'a' is no split"),
    ([1], {}, "row 1: it is int, and a row is a dict"),
    ([{"question": "Why?", "answer": object()}], {}, "row 1: it holds what JSON cannot .a value of the type object"),
    ([{"question": "Why\ud800?", "answer": "So."}], {}, "row 1: it holds what JSON cannot .'utf-8' codec can't encode"),
    ([], {}, "no row is left to train on: rows.jsonl is empty"),
    ("no.jsonl", {}, "data.sources.0..path: there is no file .*no.jsonl; correct the path"),
    (ROWS, {"val_fracton": 0.1}, "val_fracton is no key of the configuration; did you mean val_fraction?"),
    (ROWS, {"policies": {"sytem": "keep"}}, "data.policies.sytem is no key .* did you mean data.policies.system?"),
    (ROWS, {"val_fraction": 2}, "data.val_fraction and data.test_fraction must not be negative and must leave rows"),
    (ROWS, {"seed": "x"}, "seed: "),
])  # fmt: skip
def test_what_cannot_be_is_said_in_a_sentence(rows, given, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{sentence}"):
        refrain.data.load(rows, **given)


def test_what_a_change_makes_is_a_row_or_named_with_that_it_was_made_of(data):
    with pytest.raises(ValueError, match=r"^what map made of .*: it is int, and a row is a dict such as"):
        data.map(lambda row: 5)
    with pytest.raises(ValueError, match=r"^no row is left: all \d+ rows were left out; keep some$"):
        data.filter(lambda row: False)


def test_a_row_that_is_no_conversation_is_refused_when_it_is_added(data):
    for row in ({"question": "Why?"}, {"messages": []}, {}, {"question": "Why?", "answer": ""}):
        with pytest.raises(ValueError, match=r"^the row: "):
            data.add(row)
    with pytest.raises(ValueError, match=r"^split: 'dev' is none of train, val, test$"):
        data.batches("models/base", 4, split="dev")
    assert not data.input.added


def test_a_program_that_hydra_configures_keeps_its_own(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(HYDRA % ROWS)
    done = subprocess.run([sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{len(ROWS)} program"
